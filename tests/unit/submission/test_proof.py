"""What proves that a generation, or a record, is a task's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_kling.api.listing import CLOCKS_APART
from airflow_kling.api.tasks import KlingTask
from airflow_kling.submission.identity import Identity, Run
from airflow_kling.submission.proof import earlier_record, is_ours

NOW = 1_800_000_000.0


def task(created: float | None) -> KlingTask:
    return KlingTask(kling_task_id="1", created_at=None if created is None else datetime.fromtimestamp(created, UTC))


@pytest.mark.parametrize(
    ("changes", "created", "ours"),
    [
        ({"kind": "nonce"}, None, True),
        ({"kind": "nonce", "since": 0.0, "refused": True, "mapped": True}, NOW - 86_400, True),
        ({}, NOW + 1, True),
        ({}, NOW - CLOCKS_APART, True),
        ({}, NOW - CLOCKS_APART - 1, False),
        ({}, None, False),
        ({"since": 0.0}, NOW, False),
        ({"mapped": True, "refused": True}, NOW, True),
        ({"kind": "given"}, NOW + 1, True),
        ({"kind": "given"}, NOW - 86_400, False),
        ({"kind": "given"}, None, False),
        ({"kind": "given", "mapped": True}, NOW + 1, False),
        ({"kind": "given", "refused": True}, NOW + 1, False),
    ],
    ids=str,
)
def test_a_generation(changes: dict[str, Any], created: float | None, ours: bool) -> None:
    given: dict[str, Any] = {"kind": "derived", "since": NOW, "mapped": False, "refused": False, **changes}
    assert is_ours(task(created), **given) is ours


OLD = Run(started="2027-01-15T08:00:00+00:00", clear_number=0)


@dataclass(frozen=True)
class Record:
    round: int = 4
    try_number: int = 1
    run: Run = OLD


def now(*, round_number: int = 4, try_number: int = 2, **run: Any) -> Identity:
    made = Run(**{"started": "2027-01-15T09:00:00+00:00", "clear_number": 0, **run})
    return Identity("d", "r", "t", -1, round_number, True, try_number == 1, try_number=try_number, run=made)


@pytest.mark.parametrize(
    ("identity", "ours"),
    [
        (now(try_number=1), False),  # made again
        (now(round_number=5, clear_number=1), True),  # cleared
        (now(round_number=5, clear_number=1, row=8), False),  # another row of the database
    ],
)
def test_a_record_of_a_run_of_the_same_name(identity: Identity, ours: bool) -> None:
    record = Record(run=replace(Record().run, row=7))
    assert earlier_record([record], identity) is (record if ours else None)
    assert earlier_record([], identity) is None


@pytest.mark.parametrize("identity", [now(), now(clear_number=1)])
def test_where_nothing_can_tell(identity: Identity) -> None:
    with pytest.raises(LookupError):
        earlier_record([Record()], identity)


def test_a_record_of_a_later_try_is_of_another_run() -> None:
    assert earlier_record([Record(try_number=2)], now()) is None


def test_the_latest_of_several() -> None:
    older, newer = Record(), Record(4, 2, Run(started="2027-01-15T08:30:00+00:00", clear_number=1))
    assert earlier_record([newer, older], now(round_number=6, try_number=3, clear_number=2)) is newer
