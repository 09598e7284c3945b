"""Defines a row of the table, and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes import DEFAULT_ROUTE

if TYPE_CHECKING:
    from tests.airflow.faults.case import Case

AIRFLOW_3, AIRFLOW_2 = "3.3", "2.11"
Fields = dict[str, Any]  # of a row, or of a fault
SUCCESS = {"generate": "success", "archive": "success"}


@dataclass(frozen=True)
class End:
    """How a row is documented to end.

    :param billed: generations on the emulator's ledger that are not failed.
    :param images: archived images, equal byte for byte to what the emulator serves.
    :param states: final state of each task.
    :param says: regular expressions that the run's logs must match; ``{id}`` is the first generation's Kling task id.
    :param event: an event that Airflow's own audit log must hold, as proof that the core did what the row is about.
    :param timeout: seconds from the start of the ``generate`` task's first process to its deadline: it must not end
        before that, and not after a deadline that the second triggerer would have granted.
    """

    billed: int
    images: int
    states: Mapping[str, str] = field(default_factory=lambda: SUCCESS)
    says: tuple[str, ...] = ()
    event: str | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Row:
    """One way to break a run, and its documented end.

    :param name: for people; unique together with gateway and line.
    :param route: of the generation.
    :param dag: ``apart``, ``together``, ``compact`` (one task) or ``archive``.
    :param account: which emulator: ``strict``, or ``lenient``, which takes an ``external_task_id`` twice.
    :param records: the connection names a record store.
    :param receiver: it names one, and a receiver of callbacks.
    :param kills: see ``dags/breaking.py``.
    :param faults: of the emulator, matched to this row's prompt; each of them must strike.
    :param options: operator attributes by task.
    :param edits: the same, from the second process of the task on: somebody has edited the DAG.
    :param own_triggerer: only triggerers that the action starts run this row's triggers.
    :param otherwise: another end that is documented, where chance decides.
    :param chance: kills and faults may not come to pass, the run being over before.
    :param action: what a user or an operator of the cluster does meanwhile.
    :param exclusive: breaks what all rows share, so it runs alone.
    :param short: part of ``make test``.
    """

    name: str
    end: End
    gateway: str = "cometapi"
    line: str = AIRFLOW_3
    route: str = DEFAULT_ROUTE
    dag: str = "together"
    account: str = "strict"
    records: bool = False
    receiver: bool = False
    n: int = 2
    kills: Sequence[Mapping[str, Any]] = ()
    faults: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    action: Callable[[Case], None] | None = None
    own_triggerer: bool = False
    otherwise: End | None = None
    chance: bool = False
    exclusive: bool = False
    short: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a row, on the word of the emulator's ledger, the files, and Airflow's database.

    :param deviations: from the documented end; none when it is as documented.
    :param logs: folders with the log files of its runs.
    """

    row: Row
    billed: int
    images: int
    states: Mapping[str, str]
    kills: int
    seconds: float
    deviations: tuple[str, ...] = ()
    logs: tuple[Path, ...] = ()


def dag_id(dag: str, route: str) -> str:
    """Return the id of the DAG for rows of this kind and route, see ``dags/fault_runs.py``."""
    return f"faults_{dag}_{route.replace('-', '_')}"
