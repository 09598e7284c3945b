"""Runs the DAGs that users copy: a catalogue with clips and without, people in garments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from tests.integration.dag_runs import manifests, states

DAGS = Path(__file__).resolve().parents[2] / "dags"

pytestmark = pytest.mark.usefixtures("quick", "airflow_home")


@pytest.fixture
def fast(connect: Callable[..., str]) -> Iterator[Emulator]:
    """An emulator whose pictures are large enough to become clips."""
    with serve(EmulatorConfig(duration=Duration(0.05), image_size=320)) as emulator:
        connect(emulator)
        yield emulator


@pytest.fixture
def run_file(load_dag: Callable[[str, str], Any]) -> Callable[..., Any]:
    """``run_file("kling_catalog", clip=True)``: run a DAG file with parameters."""

    def run_file(name: str, **conf: Any) -> Any:
        source = (DAGS / f"{name}.py").read_text()
        # A pool of the test's would outlive it, and Airflow's own has room.
        dag = load_dag(name, source.replace('pool="kling"', 'pool="default_pool"'))
        if hasattr(dag, "sync_to_db"):
            dag.sync_to_db()
        return dag.test(run_conf=conf)

    return run_file


@pytest.fixture
def catalog(tmp_path: Path, references: list[str]) -> str:
    """Three products, of which the second names a picture that is not there."""
    wrong = [references[0], str(tmp_path / "gone.png")]
    rows = [
        {"sku": "mug", "subject_images": references, "clip_prompt": "slow turn"},
        {"sku": "gone", "subject_images": wrong},
        {"sku": "plant", "subject_images": references},
    ]
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(rows))
    return file.as_uri()


def billed(emulator: Emulator) -> list[tuple[str, str]]:
    tasks = emulator.ledger()["accounts"]["default"]["tasks"]
    return sorted((task["route"], task["request"].get("prompt") or "") for task in tasks)


def test_a_catalogue_with_clips(fast: Emulator, run_file: Any, catalog: str, archive: Path) -> None:
    found = states(run_file("kling_catalog", catalog=catalog, destination=archive.as_uri(), clip=True))
    for task in ("wants_clip", "clip.submit", "clip.wait", "clip.archive"):
        assert [found[f"product.{task}[{row}]"] for row in (0, 2)] == ["success", "success"], found
        assert found[f"product.{task}[1]"] == "upstream_failed"
    assert [found[f"product.picture.generate[{row}]"] for row in range(3)] == ["success", "failed", "success"]
    clips = [("image-to-video", ""), ("image-to-video", "slow turn")]
    assert billed(fast) == [*clips, *[("multi-image-to-image", "")] * 2]
    for sku in ("mug", "plant"):
        by_route = {one["request"]["route"]: one for one in manifests(archive / sku)}
        picture, clip = by_route["multi-image-to-image"], by_route["image-to-video"]
        assert len(picture["images"]) == 2
        [reference] = clip["request"]["references"]
        assert reference["sha256"] == picture["images"][0]["sha256"]
        assert reference["kling_task_id"] == picture["kling_task_id"]


def test_a_catalogue_without_clips_pays_for_none(fast: Emulator, run_file: Any, catalog: str, archive: Path) -> None:
    dag_run = run_file("kling_catalog", catalog=catalog, destination=archive.as_uri())
    found = states(dag_run)
    assert {found[f"product.picture.generate[{row}]"] for row in (0, 2)} == {"success"}
    for task in ("wants_clip", "clip.submit", "clip.wait", "clip.archive"):
        assert [found[f"product.{task}[{row}]"] for row in range(3)] == ["skipped", "upstream_failed", "skipped"]
    assert billed(fast) == [("multi-image-to-image", "")] * 2
    assert str(dag_run.state) == "failed", "a row that fails is seen at the run"


def test_every_person_in_every_garment(fast: Emulator, run_file: Any, references: list[str], archive: Path) -> None:
    people, garments = [references[0], references[1]], [references[1], references[0]]
    found = states(run_file("kling_try_on", people=people, garments=garments, destination=archive.as_uri()))
    assert {state for name, state in found.items() if name.startswith("try_on.archive")} == {"success"}
    made = [
        {reference["name"]: reference["uri"] for reference in one["request"]["references"]}
        for one in manifests(archive)
    ]
    pairs = {(Path(one["human_image"]).name, Path(one["cloth_image"]).name) for one in made}
    assert pairs == {(person, garment) for person in ("a.png", "b.jpg") for garment in ("a.png", "b.jpg")}
    assert [route for route, _ in billed(fast)] == ["virtual-try-on"] * 4
