"""When to look again: requests and detection delay of this package's pacing, where few and where many tasks wait on the
connection, beside a fixed poll of 5 s and of 20 s, and what a limit of requests a second makes of them.

A simulation over :mod:`airflow_kling.polling.schedule`, and one run over HTTP to see that it tells the truth.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from airflow_kling.api.route import IMAGE_PACE, VIDEO_PACE, Pace
from airflow_kling.polling import schedule
from benchmarks.processes import is_quick, listening
from benchmarks.report import percentile, publish, show, table
from benchmarks.waiting import NAMES, OURS, SENSOR, run_one

FIXED_POLLS = (5.0, 20.0)
#: Median in seconds, sigma, and the pace of the route: an image, a video from an image, a video from a text.
SPREADS = (
    (20.0, 0.35, IMAGE_PACE),
    (20.0, 0.5, IMAGE_PACE),
    (160.0, 0.35, VIDEO_PACE),
    (160.0, 0.5, VIDEO_PACE),
    (320.0, 0.35, VIDEO_PACE),
    (320.0, 0.5, VIDEO_PACE),
)
LIMITS = (400, 2000)  # requests a second; the default of a connection, and one that limits nobody here
JOBS = (24, 100, 1000, 2000, 5000, 10_000)
FEW, MANY = 24, 1000  # tasks that wait on the connection all the while
SAMPLE = 5000  # jobs from which one batch tells enough
Looks = Callable[[float, random.Random], tuple[int, float]]


def paced(end: float, rng: random.Random, *, pace: Pace, waiting: int) -> tuple[int, float]:
    """Requests and delay of a generation that ends at this age."""
    options: dict[str, Any] = {"since": 0.0, "deadline": 1e9, "poke_interval": None, "pace": pace, "requests": waiting}
    at = schedule.first_poll(now=0.0, random_fraction=rng.random(), **options)
    for requests in itertools.count(1):
        if at >= end:
            return requests, at - end
        at = schedule.next_poll(now=at, random_fraction=rng.random(), **options)
    raise AssertionError


def fixed(end: float, rng: random.Random, *, every: float) -> tuple[int, float]:
    """The same for a poll at fixed times, the first one after one interval."""
    requests = math.ceil(end / every)
    return requests, requests * every - end


def simulate(looks: Looks, median: float, sigma: float, count: int) -> dict[str, float]:
    rng, ends = random.Random(1), random.Random(2)
    seen = [looks(median * math.exp(sigma * ends.gauss(0, 1)), rng) for _ in range(count)]
    delays = sorted(delay for _, delay in seen)
    return {
        "requests": sum(requests for requests, _ in seen) / count,
        "delay_mean_s": sum(delays) / count,
        "delay_p50_s": percentile(delays, 0.5),
        "delay_p99_s": percentile(delays, 0.99),
    }


def simulations(count: int) -> list[dict[str, Any]]:
    return [
        {"median_s": median, "sigma": sigma, "schedule": name, **simulate(looks, median, sigma, count)}
        for median, sigma, pace in SPREADS
        for name, looks in (
            *(
                (f"this package, {show(waiting)} wait", partial(paced, pace=pace, waiting=waiting))
                for waiting in (FEW, MANY)
            ),
            *((f"fixed {show(every)} s", partial(fixed, every=every)) for every in FIXED_POLLS),
        )
    ]


def limited(jobs: int, rate: float) -> dict[str, float]:
    """Requests and delay of so many images that are begun at once, with at most so many requests a second."""
    batches = [batch(jobs, rate, random.Random(seed)) for seed in range(1, 2 + SAMPLE // jobs)]
    requests, delays = (sum(figures) / len(batches) / jobs for figures in zip(*batches, strict=True))
    return {"jobs": jobs, "rate": rate, "requests": requests, "delay_mean_s": delays}


def batch(jobs: int, rate: float, rng: random.Random) -> tuple[int, float]:
    """Requests and delays of such images, in all."""
    options: dict[str, Any] = {"since": 0.0, "deadline": 1e9, "poke_interval": None, "pace": IMAGE_PACE}
    median, sigma = SPREADS[0][:2]
    ends = [median * math.exp(sigma * rng.gauss(0, 1)) for _ in range(jobs)]
    firsts = [schedule.first_poll(now=0.0, random_fraction=rng.random(), requests=jobs, **options) for _ in ends]
    queue = [(due, job) for job, due in enumerate(firsts)]
    heapq.heapify(queue)
    requests, free, delays = 0, 0.0, 0.0
    while queue:
        due, job = heapq.heappop(queue)
        at = max(due, free)
        requests, free = requests + 1, at + 1 / rate
        if at >= ends[job]:
            delays += at - ends[job]
        else:
            waiting = len(queue) + 1
            due = schedule.next_poll(now=at, random_fraction=rng.random(), requests=waiting, **options)
            heapq.heappush(queue, (due, job))
    return requests, delays


def over_http() -> list[dict[str, Any]]:
    with listening("benchmarks.kling_server") as url:
        return [run_one(url, who, 200, sigma=0.5) for who in (OURS, SENSOR)]


def main() -> None:
    quick = is_quick(__doc__)
    simulated = simulations(20_000 if quick else 200_000)
    real = [] if quick else over_http()
    head = ["spread", "schedule", "requests", "delay mean s", "p50", "p99"]
    figures = ("delay_mean_s", "delay_p50_s", "delay_p99_s")
    rows = [
        [f"log-normal, median {show(one['median_s'])} s, sigma {one['sigma']}", one["schedule"], one["requests"]]
        + [one[figure] for figure in figures]
        for one in simulated
    ]
    rows += [
        ["the second spread over HTTP, 200 jobs", NAMES[one["contestant"]], one["requests_per_job"]]
        + [one[figure] for figure in figures]
        for one in real
    ]
    by_limit = [limited(jobs, rate) for rate in LIMITS for jobs in JOBS]
    of_limits = table(
        ["requests a second", "jobs", "requests", "delay mean s"],
        [[one["rate"], one["jobs"], one["requests"], one["delay_mean_s"]] for one in by_limit],
    )
    results = {"simulated": simulated, "limited": by_limit, "over_http": real}
    publish("schedule", results, table(head, rows), of_limits)


if __name__ == "__main__":
    main()
