"""One contestant of ``waiting``: starts triggers as the triggerer does, and tells what they used."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from benchmarks.kling_server import UNTIL_DONE
from benchmarks.meter import LoopMeter, PeakMemory, idle
from benchmarks.report import percentile
from deploy.local.stack import EMULATOR_KEY

FIXED_POLL = 5.0  # seconds, the default of HttpSensorTrigger
WARM_UP = 20  # finished jobs before the clock starts: imports, TLS, connection lookup


class ClientPerPoll(BaseTrigger):
    """What a trigger written by hand often does: ``async with httpx.AsyncClient()`` around each request."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.waiting_contestant.ClientPerPoll", {"url": self.url}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {EMULATOR_KEY}"}) as client:
                task = (await client.get(self.url)).json()["data"]
            if task["task_status"] in ("succeed", "failed"):
                yield TriggerEvent(task["task_status"])
                return
            await asyncio.sleep(FIXED_POLL)


def maker(spec: dict[str, Any], *, warming: bool) -> Callable[[str], BaseTrigger]:
    path = find_route(DEFAULT_ROUTE).endpoint(spec["gateway"]).path
    if spec["contestant"] == "http_sensor":
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        return lambda job: HttpSensorTrigger(endpoint=f"{UNTIL_DONE}{path}/{job}", poke_interval=FIXED_POLL)
    if spec["contestant"] == "client_per_poll":
        return lambda job: ClientPerPoll(f"{spec['url']}{path}/{job}")
    from airflow_kling.triggers.task import KlingTaskTrigger

    now = time.time()
    since, poke_interval = (now - 60, 0.1) if warming else (None, spec["poke_interval"])
    return lambda job: KlingTaskTrigger(
        kling_task_id=job, deadline=now + 3600, poke_interval=poke_interval, since=since
    )


async def create_jobs(spec: dict[str, Any], count: int, median: float) -> list[tuple[str, float]]:
    asked = {"count": count, "gateway": spec["gateway"], "median": median, "sigma": spec["sigma"], "seed": spec["seed"]}
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        answer = await client.post(f"{spec['url']}/_bench/jobs", json=asked)
    return [(job, end) for job, end in answer.raise_for_status().json()["jobs"]]


async def counted(spec: dict[str, Any]) -> dict[str, int]:
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        answer = await client.get(f"{spec['url']}/_emulator/ledger", params={"tasks": "false"})
    return dict(answer.raise_for_status().json()["requests"])


async def fire(trigger: BaseTrigger, job: str, fired: dict[str, float]) -> None:
    async for _ in trigger.run():
        fired[job] = time.time()
        return


async def start(make: Callable[[str], BaseTrigger], jobs: list[tuple[str, float]], fired: dict[str, float]) -> set[Any]:
    """As ``TriggerRunner.create_triggers``: the loop gets a turn before and after each trigger is made."""
    running = set()
    for job, _ in jobs:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.add(asyncio.create_task(fire(make(job), job, fired)))
    return running


async def measure(spec: dict[str, Any]) -> dict[str, Any]:
    warm: dict[str, float] = {}
    finished = await create_jobs(spec, WARM_UP, 0.0)
    await asyncio.gather(*await start(maker(spec, warming=True), finished, warm))
    tick, alone = await idle()

    jobs = await create_jobs(spec, spec["jobs"], spec["median"])
    make = maker(spec, warming=False)
    fired = dict.fromkeys((job for job, _ in jobs), 0.0)
    before = await counted(spec)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    meter = LoopMeter()
    # Where the CPU is all that is asked for, nothing else runs.
    with PeakMemory() as memory, meter if spec["meter"] else contextlib.nullcontext():
        running = await start(make, jobs, fired)
        started = time.perf_counter() - wall
        _, late = await asyncio.wait(running, timeout=spec["limit"])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if spec["meter"]:
        tick_after, alone_after = await idle()
        alone.lags.extend(alone_after.lags)
        cpu -= len(meter.lags) * (tick + tick_after) / 2
    requests = await counted(spec)
    broken = sum(1 for one in running if one.done() and one.exception())
    for one in late:
        one.cancel()
    delays = sorted(fired[job] - end for job, end in jobs if fired[job])
    asked = {kind: requests[kind] - before[kind] for kind in ("query", "list")}
    return {
        "cpu_s": cpu,
        "cpu_ms_per_job": 1e3 * cpu / len(jobs),
        "cpu_ms_per_request": 1e3 * cpu / max(1, sum(asked.values())),
        "requests": asked,
        "requests_per_job": sum(asked.values()) / len(jobs),
        "detected": len(delays),
        "lost": len(jobs) - len(delays),
        "broken": broken,
        "delay_mean_s": sum(delays) / max(1, len(delays)),
        "delay_p50_s": percentile(delays, 0.5),
        "delay_p99_s": percentile(delays, 0.99),
        "too_early": sum(delay < 0 for delay in delays),
        "rss_kb_per_job": memory.peak / 1024 / len(jobs),
        "started_s": started,
        "wall_s": wall,
        **meter.summary(),
        "idle": alone.summary(),
    }


if __name__ == "__main__":
    print("\n" + json.dumps(asyncio.run(measure(json.load(sys.stdin)))))
