"""The submission record in the task state store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.exceptions import KlingSubmissionError
from airflow_kling.submission.identity import Identity, Run
from airflow_kling.submission.record import INTENDED, KEY, SUBMITTED, RecordStore, SubmissionRecord, TaskState

RECORD = SubmissionRecord(
    round=2,
    first_round=True,
    attempt=1,
    external_task_id="airflow-1-2-1",
    fingerprint="f",
    state=INTENDED,
    since=1.5,
    route="text-to-video",
    kind="nonce",
    try_number=2,
    run=Run(started="2027-01-15T08:00:00+00:00", clear_number=1),
)
TRY = Identity("dag", "run", "task", -1, 2, True, first_try=False, try_number=3)


def records(store: Store) -> RecordStore:
    return RecordStore(TaskState(store))


class Store(dict[str, Any]):
    """``task_state_store``: what is written is JSON."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))


def test_what_is_written_is_read() -> None:
    store = Store()
    records(store).write(RECORD)
    assert records(store).read(TRY) == RECORD
    assert list(store) == [KEY]


def test_nothing_written_is_nothing_read() -> None:
    assert records(Store()).read(TRY) is None


def test_without_a_store_nothing_is_kept() -> None:
    store = RecordStore(None)
    store.write(RECORD)
    assert not store.keeps
    assert store.read(TRY) is None
    assert records(Store()).keeps


def stored(**changes: Any) -> Store:
    store = Store()
    records(store).write(RECORD)
    store[KEY] |= changes
    return store


def test_fields_of_a_later_release_are_ignored() -> None:
    assert (
        records(stored(account="a", of_tomorrow={"x": 1}, run={**stored()[KEY]["run"], "zone": 1})).read(TRY) == RECORD
    )


def test_a_record_without_a_route_is_of_the_default_one() -> None:
    store = stored(state=SUBMITTED, kling_task_id="8334")
    del store[KEY]["route"]
    record = records(store).read(TRY)
    assert record is not None
    assert (record.route, record.kling_task_id) == (DEFAULT_ROUTE, "8334")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({**stored()[KEY], "attempt": "first"}, ["attempt: ", "'airflow-1-2-1'"]),
        ({"external_task_id": "airflow-1-2-1"}, ["round: ", "'airflow-1-2-1'"]),
        ("a text", ["record: ", "'unknown'"]),
        ([], ["record: "]),
    ],
    ids=str,
)
def test_a_record_that_is_not_readable_is_named_and_nothing_is_submitted(value: Any, words: list[str]) -> None:
    with pytest.raises(KlingSubmissionError) as caught:
        records(Store({KEY: value})).read(TRY)
    assert not caught.value.retryable
    for word in [KEY, "cannot be read", "Nothing was submitted now, but an earlier try may have", *words]:
        assert word in str(caught.value)


def test_a_record_that_may_lie_elsewhere_next_time_is_no_proof() -> None:
    store = Store()
    records = RecordStore(TaskState(store), lasts=False)
    records.write(RECORD)
    assert records.read(TRY) == RECORD
    assert not records.keeps
