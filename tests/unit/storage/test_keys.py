"""Names of objects: what may become a part of a path."""

from __future__ import annotations

import pytest

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.keys import check_task_id, image_key, manifest_key, review_key, split_manifest_uri


def test_keys():
    assert image_key("A-b_9", 8, "jpg") == "A-b_9/8.jpg"
    assert manifest_key("1") == "1/manifest.json"
    assert review_key("1") == "1/review.json"


@pytest.mark.parametrize("task_id", ["", "a/b", "..", "a.b", "ä", "a\n", "a" * 129, None, 7, "٣"])
def test_a_task_id_that_may_not_be_a_name(task_id):
    with pytest.raises(KlingInputError, match="is not a Kling task id"):
        check_task_id(task_id)


@pytest.mark.parametrize(("index", "extension"), [(-1, "png"), (100, "png"), (True, "png"), ("0", "png"), (0, "html")])
def test_what_is_no_image_of_a_task(index, extension):
    with pytest.raises(KlingInputError):
        image_key("t", index, extension)


def test_the_address_of_a_manifest() -> None:
    assert split_manifest_uri("s3://b/p/task-1/manifest.json") == ("s3://b/p", "task-1")


@pytest.mark.parametrize("uri", ["", "task-1/manifest.json", "s3://b/task-1/review.json", "s3://b/a b/manifest.json"])
def test_what_is_no_address_of_a_manifest(uri: str) -> None:
    with pytest.raises(KlingInputError):
        split_manifest_uri(uri)
