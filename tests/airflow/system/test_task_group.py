"""Tests ``kling_image``, mapped over rows, in a real Airflow; ``test_review_dag`` tests its default outlet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.samples import draw_samples
from tests.airflow.harness.archives import check_archive
from tests.airflow.harness.runs import Run


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], destination: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    references = [str(samples["mug"]), str(samples["plant"])]
    return run_dag("kling_shoes", references=references, destination=destination.as_uri())


def test_rows_fail_alone(run: Run) -> None:
    states = run.states()
    assert [states[f"shoes.submit[{row}]"] for row in range(4)] == ["success", "failed", "failed", "success"]
    for name in ("wait", "archive"):
        found = [states[f"shoes.{name}[{row}]"] for row in range(4)]
        assert found == ["success", "upstream_failed", "upstream_failed", "success"]
    assert "2500" in run.log("shoes.submit[1]")
    assert "promt cannot be mapped over" in run.log("shoes.submit[2]")


@pytest.mark.parametrize("row", [0, 3])
def test_the_wait_takes_no_worker(run: Run, row: int) -> None:
    assert not {"queued", "running"} & set(run.history[f"shoes.wait[{row}]"])


@pytest.mark.parametrize(("row", "prompt"), [(0, "shoes on a beach"), (3, "boots")])
def test_the_row_is_archived(run: Run, destination: Path, row: int, prompt: str) -> None:
    manifest = check_archive(run.xcom("shoes.archive", row), run.xcom("shoes.wait", row), destination)
    assert manifest["request"]["prompt"] == prompt


def test_what_was_archived_is_for_other_tasks(run: Run) -> None:
    assert run.xcom("count") == 4
