"""Tests the review in a real Airflow, from an archive to published images, through its REST API and its pages."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from deploy.local.airflow_api import AirflowApi
from deploy.local.paths import local_path
from deploy.local.samples import draw_samples
from deploy.local.stack import USER
from deploy.local.waiting import HUNG, wait_for
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.runs import Run, finish

DAG_ID = "kling_review_and_publish"
PROMPT = "A mug for review: { 7 * 7 } ![pixel](https://example.com/p.png)"
REVIEW, PUBLISH = "generation.review", "generation.publish"
WAITING = ("awaiting_input", "deferred")  # the state of a question, the latter before Airflow 3.3


def questions(api: AirflowApi, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """What waits for a person, once it waits."""
    found = api.get(f"dags/{dag_id}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
    return [one for one in found if one["task_instance"]["state"] in WAITING]


def runs_by_asset(api: AirflowApi) -> list[str]:
    """The runs of the review that Asset events have started."""
    runs = api.get(f"dags/{DAG_ID}/dagRuns", run_type="asset_triggered")["dag_runs"]
    return [str(run["dag_run_id"]) for run in runs]


def asked_in_run(api: AirflowApi, run_id: str) -> list[dict[str, Any]]:
    """The questions of a run of the review, once all of them are asked."""
    found = questions(api, DAG_ID, run_id)
    instances = api.task_instances(DAG_ID, run_id)
    reviews = [one for one in instances if one["task_id"] == REVIEW and one["map_index"] >= 0]
    return found if len(found) == len(reviews) else []


def answer(running: Airflow3, question: dict[str, Any], *options: str) -> None:
    """Answer as a person, once the scheduler knows that the worker is done: else Airflow 3.3.2 fails the task."""
    ti = question["task_instance"]
    running.wait_until_worker_is_done(ti["dag_run_id"], ti["task_id"], ti["try_number"], ti["map_index"])
    path = f"dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/{ti['map_index']}/hitlDetails"
    running.api.send("PATCH", path, {"chosen_options": list(options)})


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of the last change of every file below a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture(scope="module")
def unheard(run_dag: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An archive without outlets of its own, from before the review is unpaused."""
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    references = [str(samples["mug"]), str(samples["plant"])]
    return run_dag("kling_shoes", references=references, destination=tmp_path_factory.mktemp("archive").as_uri())


@pytest.fixture(scope="module")
def archived(
    running: Airflow3, unheard: Run, run_dag: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """A run of the main DAG, whose event is heard."""
    api = running.api
    api.wait_for_dag(DAG_ID)
    api.unpause(DAG_ID)
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    yield run_dag(
        "kling_multi_image_to_image",
        subject_images=[str(samples["mug"]), str(samples["plant"])],
        prompt=PROMPT,
        n=2,
        destination=tmp_path_factory.mktemp("archive").as_uri(),
    )
    api.send("PATCH", f"dags/{DAG_ID}", {"is_paused": True})


@pytest.fixture(scope="module")
def archive(archived: Run) -> Path:
    return local_path(archived.xcom("archive")["manifest"]).parent


@pytest.fixture(scope="module")
def published(catalog_folder: Path, archive: Path) -> Path:
    return catalog_folder / "published" / archive.name


@pytest.fixture(scope="module")
def review_run_id(running: Airflow3, archived: Run) -> str:
    """The run that the Asset events have started, by nobody's hand."""
    [run_id] = wait_for("a run of the review", lambda: runs_by_asset(running.api))
    return run_id


@pytest.fixture(scope="module")
def asked(running: Airflow3, review_run_id: str) -> list[dict[str, Any]]:
    """The questions of that run: one for each generation that was archived since its DAG is there."""
    return list(wait_for("the questions", lambda: asked_in_run(running.api, review_run_id)))


def about(asked: list[dict[str, Any]], kling_task_id: str) -> dict[str, Any]:
    [one] = [question for question in asked if kling_task_id in question["body"]]
    return one


@pytest.fixture(scope="module")
def question(asked: list[dict[str, Any]], archive: Path) -> dict[str, Any]:
    return about(asked, archive.name)


@pytest.fixture(scope="module")
def reviewed(running: Airflow3, asked: list[dict[str, Any]], question: dict[str, Any], review_run_id: str) -> Run:
    for one in asked:
        answer(running, one, "Image 1" if one is question else "None of them")
    return finish(running.api, DAG_ID, review_run_id)


def test_all_that_was_archived_is_reviewed_in_one_run(
    asked: list[dict[str, Any]], archived: Run, unheard: Run, archive: Path
) -> None:
    assert "shoes on a beach" in about(asked, unheard.xcom("shoes.archive", 0)["kling_task_id"])["subject"]
    assert len(asked) >= 3
    [event] = archived.asset_events()
    assert event["extra"]["kling_task_id"] == archive.name
    assert event["extra"]["request"]["prompt"] == PROMPT


def test_the_person_is_asked_with_prompt_and_pictures(question: dict[str, Any], archived: Run) -> None:
    assert question["options"] == ["Image 0", "Image 1", "None of them"]
    assert question["multiple"]
    assert not question["defaults"]
    assert question["subject"].startswith("Which images may be published? A mug for review: { 7 * 7 }")
    assert f"```text\n{PROMPT}\n```" in question["body"]
    assert f"/kling/gallery?dag_id={archived.dag_id}&run_id=" in question["body"]
    assert question["body"].count("[![Image ") == 2


def test_the_person_sees_the_pictures(question: dict[str, Any], running: Airflow3) -> None:
    """In a browser, on Airflow's own page: the gallery serves them to the reader's session."""
    ti = question["task_instance"]
    page_of_the_question = (
        f"dags/{DAG_ID}/runs/{ti['dag_run_id']}/tasks/{ti['task_id']}/mapped/{ti['map_index']}/required_actions"
    )
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        page.set_default_timeout(1000 * HUNG)
        page.goto(f"{running.url}/auth/login")
        page.fill("input[name=username]", USER)
        page.fill("input[name=password]", running.passwords[USER])
        page.click("button[type=submit]")
        page.wait_for_url(f"{running.url}/")
        page.goto(f"{running.url}/{page_of_the_question}")
        for label in ("Image 0", "Image 1"):
            picture = page.get_by_role("img", name=label)
            picture.wait_for()
            page.wait_for_function("picture => picture.naturalWidth === 480", arg=picture.element_handle())
        page.get_by_text(PROMPT).last.wait_for()
        assert page.locator("img[src*='example.com']").count() == 0, "a prompt is text and nothing else"


def test_the_wait_takes_no_worker(question: dict[str, Any], running: Airflow3) -> None:
    assert question["task_instance"]["state"] == "awaiting_input"

    def slots() -> list[int]:
        pool = running.api.get("pools/default_pool")
        return [pool[f"{state}_slots"] for state in ("occupied", "running", "queued", "deferred")]

    wait_for("a pool that is free", lambda: slots() == [0, 0, 0, 0], describe=slots)


def test_what_is_approved_is_published_and_nothing_else(reviewed: Run, archive: Path, published: Path) -> None:
    assert reviewed.state == "success", reviewed.states()
    assert {file.name for file in published.iterdir()} == {"1.png"}
    assert (published / "1.png").read_bytes() == (archive / "1.png").read_bytes()


def test_each_image_has_its_verdict_beside_the_manifest(reviewed: Run, archive: Path) -> None:
    assert reviewed.state == "success"
    said = json.loads((archive / "review.json").read_text())
    assert [image["verdict"] for image in said["images"]] == ["rejected", "approved"]
    assert said["by"] == {"id": USER, "name": USER}
    assert said["at"]


def test_those_who_schedule_on_it_hear_of_it(reviewed: Run, archive: Path) -> None:
    events = {event["extra"]["kling_task_id"]: event for event in reviewed.asset_events()}
    event = events[archive.name]
    assert event["name"] == "kling_published_images"
    assert event["extra"] == reviewed.xcom(PUBLISH, event["source_map_index"])


def test_publishing_again_changes_nothing(
    reviewed: Run, question: dict[str, Any], archive: Path, published: Path
) -> None:
    before = contents(archive), contents(published)
    reviewed.api.clear(DAG_ID, reviewed.run_id, PUBLISH, downstream=False)
    again = finish(reviewed.api, DAG_ID, reviewed.run_id)
    assert again.state == "success"
    assert again.instances()[f"{PUBLISH}[{question['task_instance']['map_index']}]"]["try_number"] == 2
    assert (contents(archive), contents(published)) == before


def test_several_are_reviewed_apart_and_a_second_verdict_takes_back(
    reviewed: Run, running: Airflow3, archive: Path, published: Path
) -> None:
    """The same archive by hand, beside one that is not there: which fails alone."""
    missing = (archive.parent / "no-such-task" / "manifest.json").as_uri()
    api = running.api
    run_id = api.trigger(DAG_ID, {"manifests": [missing, (archive / "manifest.json").as_uri()]})
    [one] = wait_for("the question", lambda: questions(api, DAG_ID, run_id))
    assert one["task_instance"]["map_index"] == 1
    answer(running, one, "None of them")
    run = finish(api, DAG_ID, run_id)
    assert {name: state for name, state in run.states().items() if name.startswith("generation.")} == {
        f"{REVIEW}[0]": "failed",
        f"{PUBLISH}[0]": "upstream_failed",
        f"{REVIEW}[1]": "success",
        f"{PUBLISH}[1]": "success",
    }
    assert list(published.iterdir()) == []
    said = json.loads((archive / "review.json").read_text())
    assert [image["verdict"] for image in said["images"]] == ["rejected", "rejected"]


def test_where_nobody_answers_in_time_nothing_is_published(
    reviewed: Run, archive: Path, run_dag: Callable[..., Run], tmp_path: Path
) -> None:
    manifest = (archive / "manifest.json").as_uri()
    run = run_dag("kling_review_in_a_hurry", manifest=manifest, publish_to=tmp_path.as_uri())
    assert run.state == "success", run.states()
    assert "Nobody answered in time" in run.log("review")
    assert list(tmp_path.rglob("*.png")) == []
    said = json.loads((archive / "review.json").read_text())
    assert [image["verdict"] for image in said["images"]] == ["rejected", "rejected"]
    assert said["by"] is None


def test_rows_that_end_together_are_all_asked_about_at_once_and_each_only_once(
    reviewed: Run, running: Airflow3, run_dag: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Airflow itself hands on only the first of them, the others with the next event."""
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    references = [str(samples["mug"]), str(samples["plant"])]
    run = run_dag("kling_together", references=references, destination=tmp_path_factory.mktemp("together").as_uri())
    archives = {run.xcom("row.archive", row)["manifest"] for row in range(4)}

    def asked_about() -> Counter[str]:
        lists = [asked_by(running.api, run_id) for run_id in runs_by_asset(running.api)]
        return Counter(manifest for manifests in lists for manifest in manifests if manifest in archives)

    wait_for("a question about each row", lambda: archives == set(asked_about()), describe=asked_about)
    assert set(asked_about().values()) == {1}


def asked_by(api: AirflowApi, run_id: str) -> list[str]:
    """Which manifests a run asks about; none before it knows."""
    [archived] = [one for one in api.task_instances(DAG_ID, run_id) if one["task_id"] == "archived"]
    return list(api.xcom(DAG_ID, run_id, "archived")) if archived["state"] == "success" else []
