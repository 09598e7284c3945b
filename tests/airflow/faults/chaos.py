"""Draws random crash schedules: runs whose processes are SIGKILLed at random points and after random times."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from tests.airflow.faults.model import End, Row
from tests.airflow.faults.rows_submission import GATEWAYS, MONEY

RUNS = 40
N = 3
TASKS = {"together": ("generate", "archive"), "apart": ("submit", "wait", "archive")}
GENERATING = (
    ("timer", ""),
    ("create", "before"),
    ("create", "after"),
    ("record intent", "after"),
    ("record id", "after"),
    ("xcom", "before"),
    ("xcom", "after"),
    ("returned", ""),
)
WAITING = (("timer", ""), ("poll", "before"), ("poll", "after"), ("resume", "before"), ("resume", "after"))
ARCHIVING = (
    ("timer", ""),
    ("download", "before"),
    ("download", "after"),
    ("write", "before"),
    ("publish", "before"),
    ("write", "after"),
    ("returned", ""),
)
POINTS = {"submit": GENERATING, "generate": (*GENERATING, *WAITING[1:]), "wait": WAITING, "archive": ARCHIVING}
TIMES = {"xcom": 2, "download": N, "write": N + 1, "publish": N + 1}
KILLS_OF_A_TASK = (1, 1, 2)
FAULTS = (
    {"action": "error_after", "code": 5000},
    {"action": "drop_after"},
    {"action": "drop"},
    {"action": "html"},
    {"action": "error", "code": 5001},
)
SOMETIMES = 0.25  # one of these strikes the POST as well
RARELY = 0.08  # the worker dies with its task, and Airflow takes its time to notice


def schedules(seed: int, runs: int = RUNS) -> Iterator[Row]:
    """As many rows as wanted, the same for the same seed.

    Where the gateway can be asked there is one end: one generation, all of its images. Where it cannot, a generation
    whose answer was lost may end in a loud failure instead.
    """
    draw = random.Random(seed)
    for number in range(1, runs + 1):
        gateway = GATEWAYS[number % len(GATEWAYS)]
        dag = draw.choice(sorted(TASKS))
        kills = [_kill(draw, task) for task in TASKS[dag] for _ in range(draw.choice(KILLS_OF_A_TASK))]
        fault = {"on": "create", "times": 1, **draw.choice(FAULTS)}
        waiter = TASKS[dag][-2]
        yield Row(
            f"chance {seed}-{number}",
            End(1, N, dict.fromkeys(TASKS[dag], "success")),
            gateway=gateway,
            dag=dag,
            n=N,
            kills=tuple(kills),
            faults=(fault,) if draw.random() < SOMETIMES else (),
            options={waiter: {"deferrable": draw.random() < 0.5, "poke_interval": 1.0}},
            otherwise=_loud_failure(dag) if gateway == "cometapi" else None,
            chance=True,
        )


def _kill(draw: random.Random, task: str) -> Mapping[str, Any]:
    point, when = draw.choice(POINTS[task])
    kill = {"task": task, "point": point, "whom": "worker" if draw.random() < RARELY else "task"}
    if point == "timer":
        return {**kill, "seconds": round(draw.uniform(0.0, 1.5), 3)}
    return {**kill, "when": when, "nth": draw.randint(1, TIMES.get(point, 1))}


def _loud_failure(dag: str) -> End:
    first, *others = TASKS[dag]
    return End(1, 0, {first: "failed", **dict.fromkeys(others, "upstream_failed")}, says=MONEY)
