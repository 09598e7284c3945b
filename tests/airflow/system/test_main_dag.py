"""Tests the main DAG in a real Airflow: submitted once, waited for without a worker, archived to the byte."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from deploy.local.samples import draw_samples
from tests.airflow.harness.archives import check_archive
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

PROMPT = "A mug and a plant by the window"


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def run(
    run_dag: Callable[..., Run], kling: Emulator, destination: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    # However slowly Airflow starts the wait, its first poll finds the generation unfinished.
    kling.fault(on="query", match={"prompt": PROMPT}, action="unknown_status", times=1)
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    return run_dag(
        "kling_multi_image_to_image",
        subject_images=[str(samples["mug"]), samples["plant"].as_uri()],
        scene_image=str(samples["scene"]),
        prompt=PROMPT,
        aspect_ratio="3:2",
        n=2,
        destination=destination.as_uri(),
    )


def test_run_succeeds(run: Run) -> None:
    assert run.state == "success", run.states()
    assert run.states() == {"submit": "success", "wait": "success", "archive": "success"}


def test_waiting_takes_no_worker(run: Run) -> None:
    wait = run.instances()["wait"]
    if not AIRFLOW_V_3_3_PLUS:  # a worker polls once there, and defers
        assert run.was_deferred("wait")
        return
    assert (wait["queued_when"], wait["pid"], wait["hostname"] or None) == (None, None, None)


def test_one_generation_is_submitted_and_billed(run: Run, kling: Emulator) -> None:
    tasks = kling.ledger()["accounts"]["default"]["tasks"]
    [ours] = [task for task in tasks if task["request"]["prompt"] == PROMPT]
    assert ours["task_id"] == run.xcom("submit")
    assert ours["n"] == 2
    assert ours["request"]["aspect_ratio"] == "3:2"


def test_xcom_of_the_finished_task(run: Run) -> None:
    finished = run.xcom("wait")
    assert set(finished) == {
        "route",
        "kling_task_id",
        "external_task_id",
        "status",
        "status_message",
        "images",
        "created_at",
        "updated_at",
        "unit_deduction",
    }
    assert finished["route"] == "multi-image-to-image"
    assert finished["kling_task_id"] == run.xcom("submit")
    assert finished["status"] == "succeed"
    assert [set(image) for image in finished["images"]] == [{"index", "url"}] * 2
    assert datetime.fromisoformat(finished["created_at"]) < datetime.fromisoformat(finished["updated_at"])


def test_archive_is_what_the_api_serves(run: Run, destination: Path) -> None:
    manifest = check_archive(run.xcom("archive"), run.xcom("wait"), destination)
    assert manifest["request"]["prompt"] == PROMPT
    assert manifest["request"]["n"] == 2
    assert [reference["name"] for reference in manifest["request"]["references"]] == [
        "subject_images[0]",
        "subject_images[1]",
        "scene_image",
    ]
    width, height = manifest["images"][0]["width"], manifest["images"][0]["height"]
    assert width * 2 == height * 3


def test_asset_event_names_the_manifest(run: Run) -> None:
    [event] = run.asset_events()
    assert event["source_task_id"] == "archive"
    assert event["extra"]["manifest"] == run.xcom("archive")["manifest"]


def test_key_is_in_no_log_no_xcom_and_no_other_file(run: Run, assert_key_is_nowhere: Callable[[], None]) -> None:
    assert run.log("submit")
    assert_key_is_nowhere()
