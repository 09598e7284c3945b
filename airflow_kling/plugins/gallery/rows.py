"""Defines what the gallery reads from Airflow's database, as plain types. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from airflow_kling.api.price_list import Pack

#: Characters of an XCom's value in JSON that the gallery reads; some 2 kB are usual.
MAX_VALUE = 128 * 1024


class Identity(NamedTuple):
    """Names one row: a task instance, and the generation whose XCom it pushed."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    kling_task_id: str

    @property
    def generation(self) -> str:
        """Name of the generation in this run and map index: its request and its archive have the same.

        A Kling task id alone is no name: any DAG can push an XCom with that of another one.
        """
        return "-".join(quote(str(part), safe="") for part in (*self.place, self.kling_task_id))

    @property
    def place(self) -> tuple[str, str, int]:
        """DAG, run and map index."""
        return self.dag_id, self.run_id, self.map_index


@dataclass(frozen=True)
class Row:
    """A generation as the database has it.

    :param archived: True for the XCom of an archive task, False for the one of a submitting task
    :param at: when the task pushed the XCom
    :param value: of the XCom, unchecked: the author of a DAG can write anything there; None where it is not read
    :param is_too_large: whether it is over :data:`MAX_VALUE`, and therefore not read
    """

    identity: Identity
    archived: bool
    at: datetime
    value: Any
    is_too_large: bool = False


@dataclass(frozen=True)
class Spend:
    """Sums over the generations of a DAG.

    :param dag_id: empty for the sum of several DAGs
    :param units: that Kling billed, of each pack: one is not worth another, so they are never added up
    """

    dag_id: str
    generations: int
    archived: int
    images: int
    videos: int
    units: dict[Pack, float]

    @property
    def billed(self) -> dict[Pack, float]:
        """The units of the packs that were billed; of the one for images where none was."""
        return {pack: number for pack, number in self.units.items() if number} or {"image": 0.0}


class TaskStates(NamedTuple):
    """States of the task instances that work on a generation.

    :param own: of the task instance that pushed the row's XCom
    :param others: of the Kling operators in the same run and map index, by task id
    :param run: of the DAG run
    """

    own: str | None
    others: dict[str, str | None]
    run: str | None
