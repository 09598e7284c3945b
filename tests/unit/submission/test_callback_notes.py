"""The note of a callback: written whole, the first one stays, and a damaged one is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_kling.api.callbacks import callback_name
from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.base import Store
from airflow_kling.storage.open import open_store
from airflow_kling.submission.callback_notes import read_note, write_note


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}")


def test_none_before_a_callback_came(store: Store) -> None:
    assert read_note(store, "job-7") is None


def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    assert write_note(store, "job-7", "8334") == "8334"
    assert read_note(store, "job-7") == "8334"
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path).as_posix() == "callbacks/job-7.json"
    assert json.loads(file.read_text())["kling_task_id"] == "8334"


def test_the_first_note_stays(store: Store) -> None:
    write_note(store, "job-7", "8334")
    assert write_note(store, "job-7", "8334") == "8334"
    assert write_note(store, "job-7", "9999") == "8334"
    assert read_note(store, "job-7") == "8334"


@pytest.mark.parametrize("external_task_id", ["../../outside", "a/b", "täglich", "x" * 3000, "~" + "0" * 64])
def test_an_odd_id_stays_in_its_folder(external_task_id: str, store: Store, tmp_path: Path) -> None:
    write_note(store, callback_name(external_task_id), "8334")
    assert read_note(store, external_task_id) == "8334"
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "callbacks"]


@pytest.mark.parametrize("kling_task_id", ["", "../x", "a b", "x" * 129])
def test_an_id_that_is_none_is_not_noted(kling_task_id: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(KlingInputError):
        write_note(store, "job-7", kling_task_id)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"kling_task_id": null}', b'{"kling_task_id": "/"}', b"\xff"]
)
def test_a_damaged_note_is_ignored_and_replaced(
    content: bytes, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "job-7.json").write_bytes(content)
    assert read_note(store, "job-7") is None
    assert "job-7.json is not a note" in caplog.text
    assert write_note(store, "job-7", "8334") == "8334"
    assert read_note(store, "job-7") == "8334"


def test_fields_of_a_later_release_are_ignored(store: Store, tmp_path: Path) -> None:
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "job-7.json").write_text('{"kling_task_id": "8334", "colour": "blue"}')
    assert read_note(store, "job-7") == "8334"
