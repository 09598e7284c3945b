"""A task is one typed value: what XCom holds of it is read again as it was, also what earlier versions wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.exceptions import KlingInputError

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
#: As the version before routes wrote it.
OLD: dict[str, Any] = {
    "kling_task_id": "8334",
    "external_task_id": "airflow-1",
    "status": "succeed",
    "status_message": "",
    "images": [{"index": 0, "url": "https://h/0.png?sig=s"}, {"index": 1, "url": "https://h/1.png"}],
    "created_at": "2026-01-02T03:04:05+00:00",
    "updated_at": "2026-01-02T03:04:35+00:00",
    "unit_deduction": "16",
}


def test_result_url_is_not_shown_by_repr() -> None:
    task = KlingTask(kling_task_id="1", results=(Result(index=0, url="https://h/0.png?token=secret"),))
    assert "secret" not in repr(task)


def test_xcom_of_the_version_before_routes() -> None:
    task = KlingTask.from_xcom(OLD)
    assert (task.kling_task_id, task.route, task.status) == ("8334", DEFAULT_ROUTE, SUCCEED)
    assert [(result.kind, result.index, result.url) for result in task.results] == [
        ("image", 0, "https://h/0.png?sig=s"),
        ("image", 1, "https://h/1.png"),
    ]
    assert (task.created_at, task.billed_units) == (AT, 16.0)
    assert task.to_xcom() == {**OLD, "route": DEFAULT_ROUTE}


def test_xcom_of_a_video() -> None:
    video = Result(kind="video", index=0, url="https://h/0.mp4", id="829836802793406551", duration="5.1")
    task = KlingTask(kling_task_id="9", route="image-to-video", status=SUCCEED, results=(video,), created_at=AT)
    told = json.loads(json.dumps(task.to_xcom()))
    assert told["videos"] == [
        {"index": 0, "url": "https://h/0.mp4", "id": "829836802793406551", "duration": "5.1"},
    ]
    assert told["images"] == []
    assert KlingTask.from_xcom(told) == task


def test_position_stands_in_for_a_missing_index() -> None:
    task = KlingTask.from_xcom({"kling_task_id": "1", "status": SUCCEED, "images": [{"url": "a"}, {"url": "b"}]})
    assert [result.index for result in task.results] == [0, 1]


@pytest.mark.parametrize("wrong", [None, 7, [], {}, {"kling_task_id": ""}, {"status": "succeed"}], ids=str)
def test_what_is_no_task(wrong: Any) -> None:
    with pytest.raises(KlingInputError, match="without kling_task_id"):
        KlingTask.from_xcom(wrong)


@pytest.mark.parametrize("index", ["0", 1.5, [0], True], ids=str)
def test_an_index_that_is_no_number(index: Any) -> None:
    value = {"kling_task_id": "1", "status": SUCCEED, "images": [{"index": index, "url": "a"}]}
    with pytest.raises(KlingInputError, match="nothing was archived"):
        KlingTask.from_xcom(value)


@pytest.mark.parametrize(
    ("text", "units"),
    [("8", 8.0), ("0.5", 0.5), (None, None), ("", None), ("free", None), ("nan", None), ("inf", None)],
)
def test_billed_units(text: str | None, units: float | None) -> None:
    assert KlingTask(kling_task_id="1", unit_deduction=text).billed_units == units
