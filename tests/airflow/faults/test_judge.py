"""Tests that the judge sees each deviation: a table that cannot fail proves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.faults import judge as judge_module
from tests.airflow.faults.case import Case
from tests.airflow.faults.judge import judge
from tests.airflow.faults.model import AIRFLOW_2, End, Row
from tests.airflow.faults.report import line_of

IMAGES = [b"first image", b"second image"]
STATES = {"generate": "success", "archive": "success"}


class Emulator:
    def __init__(self) -> None:
        self.ledger = [{"task_id": "42", "status": "succeed"}]
        self.struck: dict[str, dict[str, Any]] = {"fault-1": {"hits": 1}}

    def tasks(self, token: str) -> list[dict[str, Any]]:
        return self.ledger

    def results(self, task: dict[str, Any]) -> list[bytes]:
        return IMAGES

    def faults(self) -> dict[str, dict[str, Any]]:
        return self.struck

    def remove(self, fault_id: str) -> None:
        pass


class Airflow:
    def __init__(self, home: Path) -> None:
        self.home, self.database = home, self
        self.states = dict(STATES)
        self.text = "Adopted Kling task 42, which is succeed"
        self.events: list[str] = []

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        if "from task_instance" in query:
            return [{"run_id": "run", "task_id": task, "state": state} for task, state in self.states.items()]
        return [{"1": 1}] if values[0] in self.events else []

    def log(self, dag_id: str, run_id: str) -> str:
        return self.text

    def log_files(self, dag_id: str, run_id: str) -> list[Path]:
        return []

    def logs_of_run(self, dag_id: str, run_id: str) -> Path:
        return self.home / run_id


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(judge_module, "LATE", 0.0)
    airflow: Any = Airflow(tmp_path)
    row = Row("a row", End(1, 2, STATES, says=(r"Adopted Kling task {id}",)), kills=({"task": "generate"},))
    made = Case(row, "token", airflow, airflow, Emulator(), "kling", tmp_path / "archive")
    made.runs, made.faults = ["run"], ["fault-1"]
    made.marks.mkdir(parents=True)
    (made.marks / "0.kill").write_text(json.dumps({"pid": 2**22 + 1, "time": time.time()}))
    folder = made.archive / "42"
    folder.mkdir(parents=True)
    for index, data in enumerate(IMAGES):
        (folder / f"{index}.png").write_bytes(data)
    listed = [
        {"index": index, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for index, data in enumerate(IMAGES)
    ]
    (folder / "manifest.json").write_text(json.dumps({"images": listed}))
    return made


def test_a_row_that_ends_as_documented_passes(case: Case) -> None:
    outcome = judge(case, seconds=1)
    assert outcome.deviations == ()
    assert (outcome.billed, outcome.images, outcome.kills) == (1, 2, 1)


def keep_aside(case: Any, *, listed: bytes) -> None:
    """Make of the second image one that could not be verified."""
    folder = case.archive / "42"
    (folder / "unverified").mkdir()
    (folder / "1.png").rename(folder / "unverified" / "1.png")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = {"index": 1, "sha256": hashlib.sha256(listed).hexdigest(), "bytes": len(listed)}
    (folder / "manifest.json").write_text(json.dumps({"images": manifest["images"][:1], "unverified": [entry]}))


def test_an_image_kept_aside_is_no_archived_one_and_nothing_wrong(case: Case) -> None:
    keep_aside(case, listed=IMAGES[1])
    case.row = replace(case.row, end=replace(case.row.end, images=1))
    assert judge(case, seconds=1).deviations == ()


def test_a_record_beside_the_archive_is_wrong_except_of_one_task_on_airflow_2(case: Case) -> None:
    (case.archive / "submissions").mkdir()
    assert judge(case, seconds=1).deviations
    case.row = replace(case.row, line=AIRFLOW_2, dag="compact")
    assert judge(case, seconds=1).deviations == ()


def lists_another_aside(case: Any) -> None:
    keep_aside(case, listed=b"another image")
    case.row = replace(case.row, end=replace(case.row.end, images=1))


def left_something_aside(case: Any) -> None:
    (case.archive / "42" / "unverified").mkdir()
    (case.archive / "42" / "unverified" / ".0.png.1.part").write_bytes(b"fir")


def paid_twice(case: Any) -> None:
    case.kling.ledger.append({"task_id": "43", "status": "processing"})


def lost_an_image(case: Any) -> None:
    (case.archive / "42" / "1.png").unlink()


def changed_a_byte(case: Any) -> None:
    (case.archive / "42" / "1.png").write_bytes(b"second imagE")


def left_a_part(case: Any) -> None:
    (case.archive / "42" / ".0.png.1.part").write_bytes(b"fir")


def no_manifest(case: Any) -> None:
    (case.archive / "42" / "manifest.json").unlink()


def archived_something_else(case: Any) -> None:
    (case.archive / "43").mkdir()


def ended_otherwise(case: Any) -> None:
    case.airflow.states["archive"] = "failed"


def said_nothing(case: Any) -> None:
    case.airflow.text = "Adopted Kling task 41"


def struck_nobody(case: Any) -> None:
    case.kling.struck = {"fault-1": {"hits": 0}}


def killed_nobody(case: Any) -> None:
    (case.marks / "0.kill").unlink()


def killed_in_vain(case: Any) -> None:
    (case.marks / "0.kill").write_text(json.dumps({"pid": os.getpid(), "time": time.time()}))


def no_event(case: Any) -> None:
    case.row = replace(case.row, end=replace(case.row.end, event="state mismatch"))


@pytest.mark.parametrize(
    "break_it",
    [
        paid_twice,
        lost_an_image,
        changed_a_byte,
        left_a_part,
        lists_another_aside,
        left_something_aside,
        no_manifest,
        archived_something_else,
        ended_otherwise,
        said_nothing,
        struck_nobody,
        killed_nobody,
        killed_in_vain,
        no_event,
    ],
)
def test_a_row_that_does_not_fails(case: Case, break_it: Callable[[Case], None]) -> None:
    break_it(case)
    outcome = judge(case, seconds=1)
    assert outcome.deviations
    assert f"logs: {case.airflow.home / 'run'}" in line_of(outcome)


def test_another_documented_end_passes_too(case: Case) -> None:
    wrong = End(1, 0, {"generate": "failed", "archive": "upstream_failed"})
    case.row = replace(case.row, end=wrong, otherwise=case.row.end)
    assert judge(case, seconds=1).deviations == ()
