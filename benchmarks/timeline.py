"""Records when task instances change their state, and splits a generation's way to its archive by what took the time.

The metadata database writes the record itself, with triggers of SQLite: no change is missed, and nobody has to poll.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

PHASES = ("detection", "event", "scheduling", "queue", "between", "archive")
"""Seconds of each, which add up to those from a generation's end at Kling to its last object in storage.

- ``detection``: until the API has first said that it is finished;
- ``event``: until Airflow has stored the trigger's event, and the task is deferred no more;
- ``scheduling``: no task is queued or running: the scheduler is to look at the next one, or to queue it;
- ``queue``: until a worker is free, and has started a process for the task;
- ``between``: tasks before the last one run;
- ``archive``: the task runs that writes the last object.
"""

_RECORD = """
create table if not exists bench_changes (at real, dag_id text, task_id text, map_index integer, state text);
create trigger if not exists bench_change after update of state on task_instance when old.state is not new.state begin
  insert into bench_changes values
    ((julianday('now') - 2440587.5) * 86400.0, new.dag_id, new.task_id, new.map_index, new.state);
end;
"""


class Change(NamedTuple):
    """A task instance has another state.

    :param at: epoch seconds.
    :param task_id: without the names of its groups.
    """

    at: float
    task_id: str
    map_index: int
    state: str | None


def record(home: Path) -> None:
    """Have every change recorded from now on.

    :param home: of an Airflow on SQLite.
    """
    with closing(_database(home)) as database:
        database.executescript(_RECORD)


def changes(home: Path, dag_id: str) -> list[Change]:
    """Return what was recorded of a DAG, the oldest first."""
    query = "select at, task_id, map_index, state from bench_changes where dag_id = ? order by at, rowid"
    with closing(_database(home)) as database:
        found = database.execute(query, (dag_id,)).fetchall()
    return [Change(at, task_id.rpartition(".")[2], map_index, state) for at, task_id, map_index, state in found]


def map_indexes(home: Path, dag_id: str, kling_task_ids: Iterable[str]) -> dict[str, int]:
    """Return which mapped instance has which Kling task: its id is in what the first task returned."""
    query = "select map_index, value from xcom where dag_id = ? and key = 'return_value'"
    with closing(_database(home)) as database:
        returned = [(map_index, str(value)) for map_index, value in database.execute(query, (dag_id,))]
    return {one: map_index for one in kling_task_ids for map_index, value in returned if one in value}


def _database(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(home / "airflow.db", timeout=60)


def running_seconds(recorded: Iterable[Change]) -> Counter[str]:
    """Return how long the instances of each task were running, in seconds: what it takes of the workers."""
    since: dict[tuple[str, int], float] = {}
    seconds: Counter[str] = Counter()
    for change in recorded:
        began = since.pop((change.task_id, change.map_index), None)
        if began is not None:
            seconds[change.task_id] += change.at - began
        if change.state == "running":
            since[change.task_id, change.map_index] = change.at
    return seconds


def split(recorded: Sequence[Change], *, ended: float, answered: float, archived: float) -> dict[str, float]:
    """Split the way of one generation into :data:`PHASES`.

    :param recorded: changes of its task instances, the oldest first.
    :param ended: epoch seconds when it was finished at Kling.
    :param answered: epoch seconds when the API first said so.
    :param archived: epoch seconds when the last object was there.
    """
    seconds = dict.fromkeys(PHASES, 0.0)
    seconds["detection"] = answered - ended
    deferred = {change.task_id for change in recorded if change.state == "deferred" and change.at <= answered}
    resumed = next((one.at for one in recorded if one.at > answered and one.task_id in deferred), answered)
    seconds["event"] = resumed - answered
    last = next((one.task_id for one in reversed(recorded) if one.state == "running" and one.at <= archived), "")
    at, phase = resumed, "scheduling"
    for change in recorded:
        if resumed <= change.at <= archived:
            seconds[phase] += change.at - at
            at, phase = change.at, _phase(change, last)
    seconds[phase] += archived - at
    return seconds


def _phase(change: Change, last: str) -> str:
    if change.state == "running":
        return "archive" if change.task_id == last else "between"
    return "queue" if change.state == "queued" else "scheduling"


def means(splits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean seconds of each phase."""
    return {phase: sum(one[phase] for one in splits) / max(1, len(splits)) for phase in PHASES}
