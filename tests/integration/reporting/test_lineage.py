"""What the tasks tell of their inputs and outputs to those who trace data."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import HookLineageCollector
from openlineage.client.serde import Serde

from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.operators.image_to_video import KlingImageToVideoOperator
from airflow_kling.reporting import lineage
from airflow_kling.reporting.openlineage import SCHEMA_URL, operator_lineage
from airflow_kling.sensors.task import KlingTaskSensor

PROMPT = "A mug, as nobody else may know it"
SIGNED = "https://example.com/a.png?X-Amz-Signature=the-signature"
SUMMARY = {
    "manifest": "s3://bucket/images/8334/manifest.json",
    "kling_task_id": "8334",
    "images": [
        {"index": 0, "uri": "s3://bucket/images/8334/0.png"},
        {"index": 1, "uri": "s3://bucket/images/8334/1.png"},
    ],
}
DESCRIBED = [
    {"name": "subject_images[0]", "source": "url", "uri": "https://example.com/a.png"},
    {"name": "subject_images[1]", "source": "file", "uri": "file:///data/b%20b.png"},
    {"name": "subject_images[2]", "source": "file", "uri": "s3://refs/c/c.png"},
    {"name": "scene_image", "source": "bytes", "sha256": "0" * 64},
    {"name": "style_image", "source": "url", "uri": "https://example.com/a.png"},
]


# --- Airflow's hook lineage -------------------------------------------------------------------------------------------


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Airflow's own collector, which is at work only where somebody reads it."""
    collector = HookLineageCollector()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_hook_lineage_collector", lambda: collector)
    monkeypatch.setattr("airflow_kling.reporting.lineage._is_read", lambda: True)

    def uris() -> tuple[set[str], set[str]]:
        found = collector.collected_assets
        return {item.asset.uri for item in found.inputs}, {item.asset.uri for item in found.outputs}

    return uris


def test_references_are_inputs_and_images_and_manifest_are_outputs(collected: Any) -> None:
    inputs, outputs = lineage.addresses(DESCRIBED), lineage.archived(SUMMARY)
    lineage.report_hook_lineage(object(), inputs=inputs, outputs=outputs)
    inputs, outputs = collected()
    assert {uri.rstrip("/") for uri in inputs} == {
        "https://example.com/a.png",
        "file:///data/b%20b.png",
        "s3://refs/c/c.png",
    }
    assert outputs == {SUMMARY["manifest"], *(image["uri"] for image in SUMMARY["images"])}


def test_an_address_that_is_not_ascii_ends_no_task_on_airflow_2(collected: Any) -> None:
    lineage.report_hook_lineage(object(), inputs=["s3://refs/grün.png"], outputs=["s3://bucket/für uns/0.png"])
    assert collected() == ({"s3://refs/gr%C3%BCn.png"}, {"s3://bucket/f%C3%BCr uns/0.png"})


def test_without_a_reader_nothing_is_collected_and_nothing_fails() -> None:
    lineage.report_hook_lineage(object(), inputs=["https://example.com/a.png"])


def test_submit_and_archive_report_to_it(
    kling: Emulator, reference: Path, payload: str, collected: Any, tmp_path: Path, quick: None
) -> None:
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=[str(reference), payload])
    kling_task_id = str(submit.execute({}))
    inputs, outputs = collected()
    assert {uri.rstrip("/") for uri in inputs} == {reference.as_uri()}
    assert outputs == set()
    kling.advance(120)
    archive = KlingArchiveImagesOperator(task_id="archive", task=kling_task_id, destination=tmp_path.as_uri())
    summary = archive.execute({})
    assert collected()[1] == {summary["manifest"], summary["images"][0]["uri"]}


def test_one_task_that_submits_and_archives_reports_both(
    kling: Emulator, reference: Path, collected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    fields = {"subject_images": [str(reference)] * 2, "prompt": PROMPT, "destination": tmp_path.as_uri()}
    one = KlingMultiImageToImageOperator(task_id="generate", deferrable=False, **fields)
    monkeypatch.setattr("airflow_kling.lifecycle.wait.time.sleep", lambda seconds: kling.advance(120))
    summary = one.execute({})
    inputs, outputs = collected()
    assert {uri.rstrip("/") for uri in inputs} == {reference.as_uri()}
    assert outputs == {summary["manifest"], summary["images"][0]["uri"]}
    told = one.get_openlineage_facets_on_complete(None)
    assert names(told.inputs) == [("file", str(reference))]
    assert [f"{dataset.namespace}://{dataset.name}" for dataset in told.outputs] == [
        summary["images"][0]["uri"],
        summary["manifest"],
    ]
    facet = told.run_facets["kling"]
    assert (facet.klingTaskId, facet.units) == (summary["kling_task_id"], 16.0)


# --- OpenLineage: names and the facet ---------------------------------------------------------------------------------


def names(datasets: Any) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def test_datasets_are_named_as_the_specification_says() -> None:
    told = operator_lineage(
        kling_task_id="8334",
        asked={},
        inputs=lineage.addresses(DESCRIBED),
        outputs=[*lineage.archived(SUMMARY), "file:///our%20images/8334/0%2520.png", "gs://bucket/8334/0.png"],
    )
    assert names(told.inputs) == [
        ("https://example.com", "a.png"),
        ("file", "/data/b b.png"),
        ("s3://refs", "c/c.png"),
    ]
    assert names(told.outputs) == [
        ("s3://bucket", "images/8334/0.png"),
        ("s3://bucket", "images/8334/1.png"),
        ("s3://bucket", "images/8334/manifest.json"),
        ("file", "/our images/8334/0%20.png"),
        ("gs://bucket", "8334/0.png"),
    ]


def test_videos_and_their_posters_are_outputs_too() -> None:
    video = {"index": 0, "uri": "s3://b/9/0.mp4", "poster": {"uri": "s3://b/9/0.poster.jpg"}}
    plain = {"index": 1, "uri": "s3://b/9/1.mp4"}
    summary = {"manifest": "s3://b/9/manifest.json", "images": [], "videos": [video, plain]}
    assert lineage.archived(summary) == [
        "s3://b/9/0.mp4",
        "s3://b/9/0.poster.jpg",
        "s3://b/9/1.mp4",
        "s3://b/9/manifest.json",
    ]


SCHEMA = json.loads(resources.files("airflow_kling.reporting").joinpath("KlingRunFacet.json").read_text())


def check_facet(facet: dict[str, Any]) -> None:
    definition = SCHEMA["$defs"]["KlingRunFacet"]["allOf"][1]  # the other one, of every facet, is on the web
    properties = {**definition["properties"], "_producer": {}, "_schemaURL": {}}
    jsonschema.validate(facet, {**definition, "additionalProperties": False, "properties": properties})


def test_the_facet_fits_its_schema() -> None:
    asked = {"prompt": PROMPT, "model_name": "kling-v2", "n": 2, "aspect_ratio": "3:2", "gateway": "cometapi"}
    asked["estimated_units"] = 16.0
    facet = facet_of(operator_lineage(kling_task_id="8334", asked=asked, units=8.0))
    check_facet(facet)
    assert facet.pop("_producer")
    assert facet.pop("_schemaURL") == SCHEMA_URL == SCHEMA["$id"] + "#/$defs/KlingRunFacet"
    assert facet == {
        "klingTaskId": "8334",
        "route": "multi-image-to-image",
        "gateway": "cometapi",
        "model": "kling-v2",
        "promptSha256": hashlib.sha256(PROMPT.encode()).hexdigest(),
        "aspectRatio": "3:2",
        "n": 2,
        "units": 8.0,
        "resultKind": "image",
        "estimatedUnits": 16.0,
    }


def test_the_facet_of_a_video_fits_its_schema() -> None:
    asked = {"route": "image-to-video", "mode": "pro", "duration": "5", "prompt": PROMPT, "estimated_units": 2.5}
    facet = facet_of(operator_lineage(kling_task_id="8334", asked=asked))
    check_facet(facet)
    assert (facet["resultKind"], facet["mode"], facet["durationSeconds"]) == ("video", "pro", 5.0)
    assert facet["estimatedUnits"] == 2.5


@pytest.mark.parametrize(
    ("asked", "route"),
    [
        ({"prompt": PROMPT, "route": "text-to-video"}, "text-to-video"),
        ({"prompt": PROMPT}, "multi-image-to-image"),  # of a version that knew no other
        ({}, None),
    ],
)
def test_the_facet_names_the_route(asked: dict[str, Any], route: str | None) -> None:
    assert facet_of(operator_lineage(kling_task_id="8334", asked=asked)).get("route") == route


def facet_of(told: Any) -> dict[str, Any]:
    """As it is in an event: what is not known is left out."""
    facet: dict[str, Any] = Serde.to_dict(told.run_facets["kling"])
    return facet


@pytest.mark.parametrize("asked", [{}, {"prompt": None}, {"prompt": ""}])
def test_without_a_prompt_there_is_no_hash(asked: dict[str, Any]) -> None:
    assert "promptSha256" not in facet_of(operator_lineage(kling_task_id=None, asked=asked))


def test_its_provider_need_not_be_installed() -> None:
    code = """
import sys
sys.modules["openlineage"] = sys.modules["airflow.providers.openlineage.extractors"] = None
import airflow_kling.operators.archive, airflow_kling.operators.generate, airflow_kling.sensors.task
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


# --- OpenLineage: what each task tells --------------------------------------------------------------------------------


@pytest.fixture
def reference(tmp_path: Path, png: bytes) -> Path:
    file = tmp_path / "a reference.png"
    file.write_bytes(png)
    return file


@pytest.fixture
def payload(png: bytes) -> str:
    return base64.b64encode(png).decode()


def submit_of(*images: Any, **fields: Any) -> KlingMultiImageToImageOperator:
    return KlingMultiImageToImageOperator(task_id="submit", subject_images=list(images), prompt=PROMPT, **fields)


def test_at_the_start_references_have_the_names_they_are_given(reference: Path, payload: str, png: bytes) -> None:
    submit = submit_of(SIGNED, str(reference), payload, png, scene_image="s3://conn@refs/c.png")
    assert names(submit.get_openlineage_facets_on_start().inputs) == [
        ("https://example.com", "a.png"),
        ("file", str(reference)),
        ("s3://refs", "c.png"),
    ]


def test_submit_tells_what_was_asked(kling: Emulator, reference: Path, payload: str, ti: Any) -> None:
    submit = submit_of(SIGNED, str(reference), payload, n=2)
    kling_task_id = submit.execute({"ti": ti})
    told = submit.get_openlineage_facets_on_complete(ti)
    assert names(told.inputs) == [("https://example.com", "a.png"), ("file", str(reference))]
    assert told.outputs == []
    facet = facet_of(told)
    assert (facet["klingTaskId"], facet["n"], facet["gateway"]) == (kling_task_id, 2, "cometapi")
    assert "units" not in facet
    assert PROMPT not in str(told)
    assert "the-signature" not in str(told)


def test_after_a_refusal_the_references_are_known(kling: Emulator, reference: Path, ti: Any) -> None:
    kling.faults.add(on="create", action="error", code=1101)
    submit = submit_of(SIGNED, str(reference))
    with pytest.raises(KlingError):
        submit.execute({"ti": ti})
    told = submit.get_openlineage_facets_on_complete(ti)
    assert len(told.inputs) == 2
    assert "klingTaskId" not in facet_of(told)


def test_after_a_deferral_the_process_that_resumes_reads_it_from_xcom(
    kling: Emulator, reference: Path, payload: str, ti: Any
) -> None:
    kling_task_id = str(submit_of(str(reference), payload).execute({"ti": ti}))
    kling.advance(120)
    resumed = submit_of(str(reference), payload, wait_for_completion=True)
    ti.xcom_pull = lambda key, **where: ti.xcoms.get(key)
    resumed.execute_complete({"ti": ti}, {"kling_task_id": kling_task_id, "status": "succeed"})
    told = resumed.get_openlineage_facets_on_complete(ti)
    assert names(told.inputs) == [("file", str(reference))]
    facet = facet_of(told)
    assert facet["klingTaskId"] == kling_task_id
    assert facet["model"] == "kling-v2"
    assert facet["units"] > 0


def test_the_wait_tells_the_units(kling: Emulator, submitted: Callable[..., str], ti: Any) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    wait = KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id)
    finished = wait.execute({"ti": ti})
    facet = facet_of(wait.get_openlineage_facets_on_complete(ti))
    assert (facet["klingTaskId"], facet["units"]) == (kling_task_id, float(finished["unit_deduction"]))


def test_the_archive_tells_its_images(kling: Emulator, submitted: Any, tmp_path: Path, quick: None, ti: Any) -> None:
    kling_task_id = submitted(n=2)
    kling.advance(120)
    archive = KlingArchiveImagesOperator(task_id="archive", task=kling_task_id, destination=tmp_path.as_uri())
    archive.execute({})
    told = archive.get_openlineage_facets_on_complete(ti)
    folder = f"{tmp_path}/{kling_task_id}"
    assert names(told.outputs) == [("file", f"{folder}/{name}") for name in ("0.png", "1.png", "manifest.json")]
    assert facet_of(told)["units"] > 0


def test_the_clip_of_a_picture_has_as_input_what_its_archive_has_as_output(
    connect: Callable[..., str], payload: str, tmp_path: Path, quick: None, ti: Any
) -> None:
    with serve(EmulatorConfig(duration=Duration(0.0), image_size=640)) as emulator:
        connect(emulator, gateway="cometapi-v2")
        picture = submit_of(payload).execute({})
        destination = (tmp_path / "our room").as_uri()
        archive = KlingArchiveImagesOperator(task_id="archive", task=picture, destination=destination)
        output = archive.execute({})
        clip = KlingImageToVideoOperator(task_id="clip", image=output, prompt=PROMPT, duration="5")
        [made, _] = names(archive.get_openlineage_facets_on_complete(ti).outputs)
        assert made == ("file", f"{tmp_path}/our room/{picture}/0.png")
        assert names(clip.get_openlineage_facets_on_start().inputs) == [made]
        kling_task_id = clip.execute({"ti": ti})
        told = clip.get_openlineage_facets_on_complete(ti)
        assert names(told.inputs) == [made]
        assert facet_of(told)["resultKind"] == "video"
        [described] = ti.xcoms[f"kling_request_{kling_task_id}"]["references"]
        assert (described["kling_task_id"], described["kind"], described["index"]) == (picture, "image", 0)


def test_a_failed_archive_has_no_outputs(kling: Emulator, tmp_path: Path, ti: Any) -> None:
    archive = KlingArchiveImagesOperator(task_id="archive", task="unknown", destination=tmp_path.as_uri())
    with pytest.raises(KlingError):
        archive.execute({})
    told = archive.get_openlineage_facets_on_complete(ti)
    assert told.outputs == []
    assert facet_of(told)["klingTaskId"] == "unknown"
