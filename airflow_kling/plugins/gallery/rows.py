"""Defines what the gallery reads from Airflow's database, as plain types. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class Identity(NamedTuple):
    """Names one row: a task instance, and the generation whose XCom it pushed."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    kling_task_id: str


@dataclass(frozen=True)
class Row:
    """A generation as the database has it.

    :param archived: True for the XCom of an archive task, False for the one of a submitting task
    :param at: when the task pushed the XCom
    :param value: of the XCom, unchecked: the author of a DAG can write anything there
    """

    identity: Identity
    archived: bool
    at: datetime
    value: Any


@dataclass(frozen=True)
class Spend:
    """Sums over the generations of a DAG.

    :param dag_id: empty for the sum of several DAGs
    :param units: that Kling billed
    """

    dag_id: str
    generations: int
    archived: int
    images: int
    units: float


class TaskStates(NamedTuple):
    """States of the task instances that work on a generation.

    :param own: of the task instance that pushed the row's XCom
    :param others: of the Kling operators in the same run and map index, by task id
    :param run: of the DAG run
    """

    own: str | None
    others: dict[str, str | None]
    run: str | None
