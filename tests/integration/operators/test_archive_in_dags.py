"""Submit, wait and archive as a DAG run of Airflow's own: XComs, mapping, templates, Asset events, deferral."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_kling.emulator import Emulator
from tests.integration.dag_runs import manifests, states

pytestmark = pytest.mark.usefixtures("quick", "airflow_home")

HEAD = """
from airflow.providers.common.compat.sdk import DAG, Asset, Param
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
"""

CHAIN = (
    HEAD
    + """
with DAG("kling_chain", schedule=None, params={"prompt": "two friends", "subjects": SUBJECTS, "n": 2}) as dag:
    submit = KlingMultiImageToImageOperator(
        task_id="submit",
        subject_images="{{ params.subjects }}",
        prompt="{{ params.prompt }}",
        n="{{ params.n }}",
        aspect_ratio="1:1",
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, poke_interval=0.05, timeout=60)
    KlingArchiveImagesOperator(
        task_id="archive", task=wait.output, destination=DESTINATION, outlets=[Asset("kling_chain_images")]
    )
"""
)

BY_ID = (
    HEAD
    + """
with DAG("kling_by_id", schedule=None) as dag:
    generate = KlingMultiImageToImageOperator(
        task_id="generate",
        subject_images=SUBJECTS,
        prompt="by id",
        wait_for_completion=True,
        deferrable=True,
        poke_interval=0.05,
    )
    archive = KlingArchiveImagesOperator(
        task_id="archive",
        task="{{ ti.xcom_pull(task_ids='generate', key='kling_task_id') }}",
        destination=DESTINATION,
    )
    generate >> archive
"""
)

MAPPED = (
    HEAD
    + """
with DAG("kling_mapped", schedule=None) as dag:
    submit = KlingMultiImageToImageOperator.partial(
        task_id="submit", subject_images=SUBJECTS
    ).expand(prompt=["a cat", "a dog", "an owl"])
    wait = KlingTaskSensor.partial(task_id="wait", poke_interval=0.05).expand(kling_task_id=submit.output)
    KlingArchiveImagesOperator.partial(task_id="archive", destination=DESTINATION).expand(task=wait.output)
"""
)


def test_submit_wait_archive(fast: Emulator, run: Any, references: list[str], archive: Path) -> None:
    dag_run = run("kling_chain", CHAIN)
    assert states(dag_run) == {"submit[-1]": "success", "wait[-1]": "success", "archive[-1]": "success"}

    ledger = fast.ledger()
    [entry] = ledger["accounts"]["default"]["tasks"]
    assert (entry["n"], entry["request"]["prompt"], entry["request"]["aspect_ratio"]) == (2, "two friends", "1:1")
    assert ledger["requests"] == {"create": 1, "query": 4, "list": 0, "image": 2}

    [manifest] = manifests(archive)
    assert manifest["kling_task_id"] == entry["task_id"]
    asked = manifest["request"]
    assert (asked["prompt"], asked["n"], asked["aspect_ratio"], asked["model_name"]) == (
        "two friends",
        2,
        "1:1",
        "kling-v2",
    )
    assert asked["gateway"] == "cometapi"
    assert asked["external_task_id"] == entry["external_task_id"]
    assert [reference["uri"] for reference in asked["references"]] == [Path(path).as_uri() for path in references]
    assert [(reference["width"], reference["content_type"]) for reference in asked["references"]] == [
        (320, "image/png"),
        (320, "image/jpeg"),
    ]
    assert manifest["run"]["dag_id"] == "kling_chain"
    assert manifest["run"]["task_id"] == "archive"
    assert manifest["run"]["run_id"] == dag_run.run_id
    assert manifest["task"]["status"] == "succeed"
    assert [image["index"] for image in manifest["images"]] == [0, 1]
    assert len({image["sha256"] for image in manifest["images"]}) == 2
    assert "token=" not in json.dumps(manifest)


def test_asset_event_carries_the_manifest(fast: Emulator, run: Any, archive: Path) -> None:
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetEvent
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetEvent as AssetEvent
    dag_run = run("kling_chain", CHAIN)
    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_run_id=dag_run.run_id).all()
        [extra] = [dict(event.extra) for event in events]
    [manifest] = manifests(archive)
    assert extra["kling_task_id"] == manifest["kling_task_id"]
    assert extra["manifest"] == f"file://{archive}/{manifest['kling_task_id']}/manifest.json"
    assert len(extra["images"]) == 2
    assert {name: extra[name] for name in ("request", "task", "run")} == {
        name: manifest[name] for name in ("request", "task", "run")
    }


def test_generate_with_waiting_and_archive_by_id(fast: Emulator, run: Any, archive: Path) -> None:
    dag_run = run("kling_by_id", BY_ID)
    assert states(dag_run) == {"generate[-1]": "success", "archive[-1]": "success"}
    [manifest] = manifests(archive)
    assert manifest["request"]["prompt"] == "by id"
    assert fast.ledger()["requests"]["create"] == 1


def test_mapped_tasks_find_their_own_request(fast: Emulator, run: Any, archive: Path) -> None:
    dag_run = run("kling_mapped", MAPPED)
    assert set(states(dag_run).values()) == {"success"}
    assert len(states(dag_run)) == 9
    found = {manifest["kling_task_id"]: manifest["request"]["prompt"] for manifest in manifests(archive)}
    tasks = fast.ledger()["accounts"]["default"]["tasks"]
    assert found == {entry["task_id"]: entry["request"]["prompt"] for entry in tasks}
    assert sorted(found.values()) == ["a cat", "a dog", "an owl"]
    assert {manifest["run"]["map_index"] for manifest in manifests(archive)} == {0, 1, 2}


def test_failed_generation_fails_the_wait_and_archives_nothing(fast: Emulator, run: Any, archive: Path) -> None:
    fast.faults.clear()
    fast.faults.add(on="create", action="fail_task", message="Failure to pass the risk control system")
    dag_run = run("kling_chain", CHAIN)
    assert states(dag_run) == {"submit[-1]": "success", "wait[-1]": "failed", "archive[-1]": "upstream_failed"}
    assert manifests(archive) == []
    assert fast.ledger()["requests"]["create"] == 1


def test_wrong_input_fails_the_submission_and_nothing_is_sent(fast: Emulator, run: Any) -> None:
    dag_run = run("kling_chain", CHAIN.replace('"n": 2', '"n": 10'))
    assert states(dag_run) == {"submit[-1]": "failed", "wait[-1]": "upstream_failed", "archive[-1]": "upstream_failed"}
    assert sum(fast.ledger()["requests"].values()) == 0
