"""What carries a poll, and what decodes an answer: CPU of one poll by each way, at 200 polls a second."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.http_contestant import BURSTS
from benchmarks.processes import connections, contestant, extra_packages, is_quick, listening, use_extra_packages
from benchmarks.report import progress, publish, table

NAMES = {
    "session_per_poll": "aiohttp, a session per poll (HttpSensorTrigger)",
    "httpx": "httpx, its own transport",
    "package": "aiohttp, a whole task (this package)",
    "prebuilt": "requests straight into httpx-aiohttp's transport",
    "aiohttp": "aiohttp, answer read as this package does",
    "aiohttp_status_only": "aiohttp, only the status read",
    "http1_hypercorn": "httpx, HTTP/1.1, other server",
    "http2_hypercorn": "httpx, HTTP/2, same other server",
}
QUICK = ("session_per_poll", "httpx", "package", "aiohttp_status_only")


def carried(quick: bool) -> dict[str, dict[str, float]]:
    """CPU per poll of each way; rounds are interleaved, the median counts."""
    count, rounds = (208, 1) if quick else (1008, 3)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ("nothing", *(QUICK if quick else NAMES))}
    with listening("benchmarks.kling_server") as url, listening("benchmarks.h2_server") as other:
        for number in range(rounds):
            for way, results in runs.items():
                progress(f"round {number + 1} of {rounds}: {way}")
                base = other if way.endswith("hypercorn") else url
                spec = {"way": way, "url": base, "count": count}
                results.append(contestant("benchmarks.http_contestant", spec, env=connections(base)))
    medians = {
        way: {name: statistics.median(one[name] for one in results) for name in results[0]}
        for way, results in runs.items()
    }
    idle = medians.pop("nothing")
    for result in medians.values():
        for burst in BURSTS:
            result[f"cpu_ms_{burst}"] -= idle[f"cpu_ms_{burst}"]
    return medians


def decoders() -> dict[str, Callable[[bytes], Any]]:
    """Ways to read JSON; the typed one builds only what is asked of a page."""
    import msgspec
    import orjson

    item = msgspec.defstruct("Item", [("task_id", str), ("task_status", str), ("created_at", int)])
    page = msgspec.defstruct("Page", [("code", int), ("data", list[item])])  # type: ignore[valid-type]
    return {
        "json": json.loads,
        "orjson": orjson.loads,
        "msgspec": msgspec.json.decode,
        "msgspec, three fields": msgspec.json.Decoder(page).decode,
    }


def decoded() -> dict[str, float]:
    """Milliseconds of CPU for a page of 500 finished tasks, best of 20."""
    task = {
        "task_id": "180000000000000001",
        "task_status": "succeed",
        "task_status_msg": "",
        "task_info": {"external_task_id": "dag__run__task__0"},
        "created_at": 1_800_000_000_000,
        "updated_at": 1_800_000_020_000,
        "task_result": {"images": [{"index": 0, "url": "https://cdn.example.com/" + "x" * 200}]},
        "final_unit_deduction": "8",
    }
    page = json.dumps({"code": 0, "message": "SUCCEED", "request_id": "r", "data": [task] * 500}).encode()
    return {name: 1e3 * min(_timed(decode, page) for _ in range(20)) for name, decode in decoders().items()}


def _timed(decode: Callable[[bytes], Any], page: bytes) -> float:
    began = time.process_time()
    decode(page)
    return time.process_time() - began


def main() -> None:
    quick = is_quick(__doc__)
    extra_packages("h2", "httpx-aiohttp", "hypercorn", "orjson")
    use_extra_packages()
    ways, pages = carried(quick), decoded()
    ours, peer = ways["package"]["cpu_ms_1"], pages["json"]
    head = ["a poll by", "CPU ms, one by one", "ratio", "CPU ms, 16 at once", "ratio", "latency p50 ms"]
    rows = [
        [
            NAMES[way],
            one["cpu_ms_1"],
            one["cpu_ms_1"] / ours,
            one["cpu_ms_16"],
            one["cpu_ms_16"] / ours,
            one["latency_p50_ms_1"],
        ]
        for way, one in ways.items()
    ]
    publish(
        "http_path",
        {"polls": ways, "page_of_500_ms": pages},
        table(head, rows),
        table(["a page of 500 tasks decoded by", "CPU ms", "ratio"], [[n, v, v / peer] for n, v in pages.items()]),
    )


if __name__ == "__main__":
    main()
