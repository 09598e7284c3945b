"""A task store without a server, with a clock that the test moves."""

from __future__ import annotations

from airflow_kling.emulator import Duration, EmulatorConfig
from airflow_kling.emulator.requests import Creation
from airflow_kling.emulator.tasks import TaskStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def creation(**fields: object) -> Creation:
    return Creation({"prompt": "a prompt", "n": 1, **fields}, {})


def store(clock: Clock, **settings: object) -> TaskStore:
    return TaskStore(EmulatorConfig(**{"duration": Duration(10.0), **settings}), clock)  # type: ignore[arg-type]
