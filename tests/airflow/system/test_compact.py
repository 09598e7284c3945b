"""Tests that one task does what three do in a real Airflow, and that its retry archives and never submits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.samples import draw_samples
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.archives import check_files
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

GROUPS = {"three": "three.archive", "one": "one.generate", "pooled": "pooled.generate"}


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    return [str(samples["mug"]), str(samples["plant"])]


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], references: list[str], destination: Path, kling: Emulator) -> Run:
    # However slow this machine is, no generation has ended when it is asked for the first time.
    for prompt in ("by one", "by pool"):
        kling.fault(on="query", match={"prompt": prompt}, action="unknown_status", task_status="processing", times=1)
    return run_dag("kling_compact", references=references, destination=destination.as_uri())


@pytest.fixture(scope="module")
def retried(run_dag: Callable[..., Run], references: list[str], destination: Path, kling: Emulator) -> Run:
    # The first URL of a result, and the fresh one that its try asks for.
    fault = kling.fault(on="image", match={"index": 1}, action="error", status=503, times=2)
    try:
        return run_dag("kling_compact_retried", references=references, destination=destination.as_uri())
    finally:
        kling.remove(fault)


def shape(value: Any) -> Any:
    """Return keys and types of a document, without its values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


def test_one_task_for_each_compact_group(run: Run) -> None:
    tasks = {"three.submit", "three.wait", "three.archive", "one.generate", "pooled.generate"}
    assert run.states() == dict.fromkeys(tasks, "success")
    for name in ("one.generate", "pooled.generate"):
        assert run.was_deferred(name)


@pytest.mark.parametrize("group", GROUPS)
def test_each_archive_has_the_bytes_that_kling_serves(group: str, run: Run, kling: Emulator, destination: Path) -> None:
    summary = run.xcom(GROUPS[group])
    [made] = [task for task in kling.tasks("kling_compact") if task["task_id"] == summary["kling_task_id"]]
    manifest = check_files(summary, kling.results(made), destination)
    assert manifest["run"]["task_id"] == GROUPS[group]


def test_what_is_left_has_the_same_shape(run: Run) -> None:
    summaries = [run.xcom(task_id) for task_id in GROUPS.values()]
    assert shape(summaries[0]) == shape(summaries[1]) == shape(summaries[2])
    manifests = [json.loads(Path(one["manifest"].removeprefix("file://")).read_text()) for one in summaries]
    assert shape(manifests[0]) == shape(manifests[1]) == shape(manifests[2])
    extras = {event["extra"]["run"]["task_id"]: event["extra"] for event in run.asset_events()}
    assert shape(extras["three.archive"]) == shape(extras["one.generate"]) == shape(extras["pooled.generate"])


def test_no_xcom_of_one_task_has_a_signed_url(run: Run, running: Airflow3) -> None:
    rows = running.database.rows("SELECT task_id, key, value FROM xcom WHERE run_id = %s", run.run_id)
    signed = {row["task_id"] for row in rows if "token=" in str(row["value"])}
    assert signed == {"three.wait"}, "the addresses of three tasks go through an XCom, of one through none"


def test_a_retry_after_the_archive_failed_archives(retried: Run, kling: Emulator, destination: Path) -> None:
    [generate] = retried.instances().values()
    assert (generate["state"], generate["try_number"]) == ("success", 2)
    [made] = kling.tasks("kling_compact_retried")
    check_files(retried.xcom("one.generate"), kling.results(made), destination)
    assert "Adopted Kling task" in retried.log("one.generate")
