"""What of a finished task is believed: its status, its indexes, its URLs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.tasks import PROCESSING, SUCCEED, KlingTask, Result
from airflow_kling.archive.results import results_by_key
from airflow_kling.exceptions import KlingError, KlingNotFinishedError


def task(*images: tuple[int, str], **changes: Any) -> KlingTask:
    results = tuple(Result(index=index, url=url) for index, url in images)
    return KlingTask(kling_task_id="task-1", results=results, **{"status": SUCCEED, **changes})


def test_images_in_any_order() -> None:
    found = results_by_key(task((1, "b"), (0, "a"), (3, "d")))
    assert {str(key): image.url for key, image in found.items()} == {"image 0": "a", "image 1": "b", "image 3": "d"}


def test_each_kind_is_numbered_by_itself() -> None:
    made = {"images": [{"index": 0, "url": "a"}], "videos": [{"index": 0, "url": "b", "id": "7"}]}
    found = results_by_key(KlingTask.from_xcom({"kling_task_id": "task-1", "status": SUCCEED, **made}))
    assert [(key.title, result.url) for key, result in found.items()] == [("Image 0", "a"), ("Video 0", "b")]


def test_a_position_of_an_old_xcom_may_be_taken_already() -> None:
    images = [{"index": 1, "url": "a"}, {"url": "b"}]
    with pytest.raises(KlingError, match="has the image index 1, used twice"):
        results_by_key(KlingTask.from_xcom({"kling_task_id": "task-1", "status": SUCCEED, "images": images}))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([(0, "a"), (0, "b")], "used twice"),
        ([(-1, "a")], "not within 0 to 99"),
        ([(100, "a")], "not within 0 to 99"),
    ],
)
def test_a_task_that_makes_no_sense(images: list[tuple[int, str]], reason: str) -> None:
    with pytest.raises(KlingError, match=reason) as caught:
        results_by_key(task(*images))
    assert caught.value.kling_task_id == "task-1"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([(0, "")], "Image 0 of Kling task task-1 has no URL yet"),
        ([(0, "a"), (1, "")], "Image 1 of Kling task task-1 has no URL yet"),
        ([], "without any result yet"),
    ],
)
def test_results_that_have_not_come_may_be_archived_later(images: list[tuple[int, str]], reason: str) -> None:
    with pytest.raises(KlingNotFinishedError, match=reason) as caught:
        results_by_key(task(*images))
    assert caught.value.retryable


def test_a_task_that_is_not_finished_may_be_archived_later() -> None:
    with pytest.raises(KlingNotFinishedError, match="'processing', not succeeded; nothing was archived") as caught:
        results_by_key(task((0, "a"), status=PROCESSING))
    assert caught.value.retryable
    assert caught.value.kling_task_id == "task-1"
