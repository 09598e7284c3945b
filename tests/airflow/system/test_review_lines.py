"""Tests the review DAG on Airflow 3.1 and 3.2, where a question defers; ``test_review_dag`` asks for more on 3.3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS

from deploy.local.paths import local_path
from deploy.local.samples import draw_samples
from deploy.local.stack import USER
from deploy.local.waiting import wait_for
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.runs import Run, finish
from tests.airflow.system.test_review_dag import DAG_ID, about, answer, asked_in_run, runs_by_asset

pytestmark = pytest.mark.skipif(
    not AIRFLOW_V_3_1_PLUS or AIRFLOW_V_3_3_PLUS, reason="Airflow asks a person from 3.1 on; test_review_dag is for 3.3"
)


@pytest.fixture(scope="module")
def archived(running: Airflow3, run_dag: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the main DAG whose event starts the review."""
    running.api.wait_for_dag(DAG_ID)
    running.api.unpause(DAG_ID)
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    return run_dag(
        "kling_multi_image_to_image",
        subject_images=[str(samples["mug"]), str(samples["plant"])],
        prompt="1984",  # a text, not a number
        n=2,
        destination=tmp_path_factory.mktemp("archive").as_uri(),
    )


@pytest.fixture(scope="module")
def archive(archived: Run) -> Path:
    return local_path(archived.xcom("archive")["manifest"]).parent


def test_what_a_person_approves_is_published(running: Airflow3, archive: Path, catalog_folder: Path) -> None:
    api = running.api
    [run_id] = wait_for("a run of the review", lambda: runs_by_asset(api))
    asked = wait_for("the questions", lambda: asked_in_run(api, run_id))
    for one in asked:
        answer(running, one, "Image 1" if one is about(asked, archive.name) else "None of them")
    run = finish(api, DAG_ID, run_id)
    assert run.state == "success", run.states()
    published = catalog_folder / "published" / archive.name
    assert {file.name for file in published.iterdir()} == {"1.png"}
    assert (published / "1.png").read_bytes() == (archive / "1.png").read_bytes()
    said = json.loads((archive / "review.json").read_text())
    assert [image["verdict"] for image in said["images"]] == ["rejected", "approved"]
    assert said["by"]["id"] == USER


def test_where_nobody_answers_in_time_nothing_is_published(
    archive: Path, run_dag: Callable[..., Run], tmp_path: Path
) -> None:
    manifest = (archive / "manifest.json").as_uri()
    run = run_dag("kling_review_in_a_hurry", manifest=manifest, publish_to=tmp_path.as_uri())
    assert run.state == "success", run.states()
    assert "Nobody answered in time" in run.log("review")
    assert list(tmp_path.rglob("*.png")) == []
