"""What it costs to wait: this package's trigger beside HttpSensorTrigger and beside a new client for each poll.

Every contestant is a process of its own on one core, and the emulator has the other. All wait for jobs with the same
durations (log-normal, median 20 s, sigma 0.35: 95 % take 10 to 40 s).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import httpx

from benchmarks.processes import connections, contestant, listening
from benchmarks.report import progress, publish, table

MEDIAN, SIGMA = 20.0, 0.35
QUICK = {"median": 8.0, "sigma": 0.1}
OURS, LIST, SENSOR, CLIENT = "kling", "kling_list", "http_sensor", "client_per_poll"
NAMES = {
    OURS: "KlingTaskTrigger",
    LIST: "KlingTaskTrigger, list route",
    SENSOR: "HttpSensorTrigger, 5 s",
    CLIENT: "httpx.AsyncClient per poll, 5 s",
}
LIMITS = {CLIENT: 150.0}  # seconds; without one, the peers could be waited for all day
LIMIT = 400.0
MOST_JOBS = {CLIENT: 1000}


def run_one(url: str, who: str, jobs: int, **options: Any) -> dict[str, Any]:
    """One contestant, on an emulator without any other tasks."""
    httpx.post(f"{url}/_emulator/reset", trust_env=False).raise_for_status()
    gateway = "official" if who == LIST else "cometapi"
    spec = {"contestant": who, "url": url, "gateway": gateway, "jobs": jobs, "seed": jobs, "poke_interval": 20.0}
    spec |= {"median": MEDIAN, "sigma": SIGMA, "limit": LIMITS.get(who, LIMIT), "meter": True}
    spec |= options
    progress(f"{NAMES[who]}: {jobs:,} jobs")
    result = contestant(
        "benchmarks.waiting_contestant", spec, env=connections(url, gateway), timeout=spec["limit"] + 300
    )
    return {"contestant": who, "jobs": jobs, **result}


def summarize(runs: Iterable[dict[str, Any]]) -> str:
    head = ["jobs", "contestant", "CPU ms/job", "ratio", "requests/job", "delay mean s", "p50", "p99"]
    head += ["loop lag p50 ms", "p99", "max", "idle p99", "idle max", "longest turn, CPU ms"]
    head += ["longest collection, CPU ms", "RSS kB/job", "not detected"]
    runs = list(runs)
    sensor = {run["jobs"]: run["cpu_ms_per_job"] for run in runs if run["contestant"] == SENSOR and not run["lost"]}
    rows = [
        [
            run["jobs"],
            NAMES[run["contestant"]],
            run["cpu_ms_per_job"],
            run["cpu_ms_per_job"] / sensor[run["jobs"]] if run["jobs"] in sensor else None,
            run["requests_per_job"],
            run["delay_mean_s"],
            run["delay_p50_s"],
            run["delay_p99_s"],
            run["lag_p50_ms"],
            run["lag_p99_ms"],
            run["lag_max_ms"],
            run["idle"]["lag_p99_ms"],
            run["idle"]["lag_max_ms"],
            run["turn_max_cpu_ms"],
            run["collection_max_cpu_ms"],
            run["rss_kb_per_job"],
            run["lost"],
        ]
        for run in runs
    ]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 jobs of some 8 s, without the client per poll")
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000, 5000, 10_000])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    options = parser.parse_args()
    sizes = [100] if options.quick else options.jobs
    who = [OURS, LIST, SENSOR] if options.quick else options.only
    runs = []
    with listening("benchmarks.kling_server") as url:
        for jobs in sizes:
            for one in who:
                if jobs <= MOST_JOBS.get(one, jobs):
                    runs.append(run_one(url, one, jobs, **(QUICK if options.quick else {})))
    publish("waiting", runs, summarize(runs))


if __name__ == "__main__":
    main()
