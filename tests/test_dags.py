"""The DAGs that users copy: they load, their forms accept what they should, and loading them does nothing else."""

from __future__ import annotations

import copy
import importlib.util
import json
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.exceptions import KlingInputError

FOLDER = Path(__file__).resolve().parent.parent / "dags"
MAIN = "kling_multi_image_to_image"
CATALOG = "kling_catalog"
REVIEW = "kling_review_and_publish"
TRY_ON = "kling_try_on"
NEEDS_3_1 = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="Airflow asks a person from 3.1 on")
DAGS = [MAIN, CATALOG, TRY_ON, pytest.param(REVIEW, marks=NEEDS_3_1)]
SUBJECTS = ["https://example.com/mug.png", "/data/plant.png"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"dags_under_test_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def main_dag() -> Any:
    return load(MAIN).dag


@pytest.fixture(scope="module")
def catalog() -> ModuleType:
    return load(CATALOG)


def checked(dag: Any, **values: Any) -> dict[str, Any]:
    """Validate parameters as Airflow does for a new run."""
    params = copy.deepcopy(dag.params)
    params.update(values)
    return dict(params.validate())


def test_there_are_four_dags() -> None:
    assert {file.stem for file in FOLDER.glob("*.py")} == {MAIN, CATALOG, TRY_ON, REVIEW}


@pytest.mark.parametrize("name", DAGS)
def test_dag_is_documented_and_named_after_its_file(name: str) -> None:
    dag = load(name).dag
    assert dag.dag_id == name
    assert dag.doc_md.strip().startswith("###")
    assert dag.tags
    assert not dag.catchup


@pytest.mark.parametrize("name", DAGS)
def test_loading_a_dag_opens_no_connection_and_reads_no_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("I/O while a DAG file is parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("airflow.providers.common.compat.sdk.BaseHook.get_connection", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    load(name)


def test_main_dag_submits_waits_and_archives(main_dag: Any) -> None:
    assert [task.task_id for task in main_dag.topological_sort()] == ["submit", "wait", "archive"]
    assert main_dag.get_task("wait").upstream_task_ids == {"submit"}
    assert main_dag.get_task("archive").upstream_task_ids == {"wait"}
    assert [asset.uri for asset in main_dag.get_task("archive").outlets] == ["kling_images"]


def test_main_dag_offers_every_field_of_the_request(main_dag: Any) -> None:
    from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest

    fields = set(MultiImageToImageRequest.model_fields) - {"watermark_info", "extra_fields"}
    assert set(main_dag.params) == fields | {"destination"}


def test_main_dag_knows_the_aspect_ratios_of_the_api(main_dag: Any) -> None:
    from typing import get_args

    from airflow_kling.api.routes.multi_image_to_image import AspectRatio

    assert tuple(main_dag.params.get_param("aspect_ratio").schema["enum"]) == get_args(AspectRatio)


def test_main_dag_needs_only_subjects(main_dag: Any) -> None:
    values = checked(main_dag, subject_images=SUBJECTS)
    assert values["n"] == 1
    assert values["aspect_ratio"] == "16:9"
    assert values["scene_image"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"subject_images": []},
        {"subject_images": ["a"] * 5},
        {"subject_images": "a.png"},
        {"subject_images": SUBJECTS, "n": 0},
        {"subject_images": SUBJECTS, "n": 10},
        {"subject_images": SUBJECTS, "aspect_ratio": "5:4"},
        {"subject_images": SUBJECTS, "prompt": "x" * 2501},
        {"subject_images": SUBJECTS, "destination": ""},
    ],
    ids=str,
)
def test_main_dag_refuses_what_the_api_would_refuse(main_dag: Any, wrong: dict[str, Any]) -> None:
    from airflow.providers.common.compat.sdk import ParamValidationError

    with pytest.raises(ParamValidationError):
        checked(main_dag, **wrong)


def test_catalog_rows_are_mapped_and_independent(catalog: ModuleType) -> None:
    dag = catalog.dag
    generate = dag.get_task("product.picture.generate")
    clip = [f"product.clip.{name}" for name in ("submit", "wait", "archive")]
    assert set(dag.task_ids) == {"read_catalog", "product.picture.generate", "product.wants_clip", *clip}
    assert generate.upstream_task_ids == {"read_catalog"}
    assert dag.get_task("product.wants_clip").upstream_task_ids == {"product.picture.generate"}
    submit_clip = dag.get_task("product.clip.submit")
    assert submit_clip.upstream_task_ids == {"product.picture.generate", "product.wants_clip", "read_catalog"}
    assert generate.get_closest_mapped_task_group().group_id == "product"
    assert [asset.uri for asset in generate.outlets] == ["kling_images"]


def test_catalog_holds_as_many_slots_as_it_asks_for_images(catalog: ModuleType) -> None:
    generate = catalog.dag.get_task("product.picture.generate")
    assert generate.pool == "kling"
    assert generate.pool_slots == generate.n == catalog.IMAGES_PER_ROW
    assert generate.archives, "the slots are held until the generation is archived"


def arguments(catalog: ModuleType, file: Path, text: str | bytes) -> list[dict[str, Any]]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return catalog.dag.get_task("read_catalog").python_callable(file.as_uri(), "s3://bucket/images/")


def test_catalog_reads_csv(catalog: ModuleType, tmp_path: Path) -> None:
    text = 'sku,subject_images,prompt,aspect_ratio\nmug/01,mug.png | https://x.test/p.png,"red, warm",4:3\n'
    assert arguments(catalog, tmp_path / "catalog.csv", text) == [
        {
            "subject_images": [f"{tmp_path.as_uri()}/mug.png", "https://x.test/p.png"],
            "prompt": "red, warm",
            "scene_image": None,
            "style_image": None,
            "aspect_ratio": "4:3",
            "clip_prompt": None,
            "destination": "s3://bucket/images/mug%2F01",
        }
    ]


def test_catalog_reads_json(catalog: ModuleType, tmp_path: Path) -> None:
    rows = [{"sku": "a", "subject_images": ["s3://b/a.png", "/data/b.png"], "scene_image": "room.png"}]
    [row] = arguments(catalog, tmp_path / "catalog.json", json.dumps(rows))
    assert row["subject_images"] == ["s3://b/a.png", "/data/b.png"]
    assert row["scene_image"] == f"{tmp_path.as_uri()}/room.png"
    assert row["aspect_ratio"] == "1:1"
    assert row["prompt"] is None


def test_catalog_takes_a_number_for_a_sku_and_splits_a_text(catalog: ModuleType, tmp_path: Path) -> None:
    rows = [
        {"sku": 1001, "subject_images": "https://x.test/p.png"},
        {"sku": 0, "subject_images": " mug.png | https://x.test/p.png |"},
    ]
    first, second = arguments(catalog, tmp_path / "catalog.json", json.dumps(rows))
    assert first["destination"] == "s3://bucket/images/1001"
    assert first["subject_images"] == ["https://x.test/p.png"]
    assert second["destination"] == "s3://bucket/images/0"
    assert second["subject_images"] == [f"{tmp_path.as_uri()}/mug.png", "https://x.test/p.png"]


@pytest.mark.parametrize("field", ["subject_images", "scene_image"])
@pytest.mark.parametrize("odd", [7, {"a": 1}, True, [7]], ids=str)
def test_catalog_leaves_an_image_that_is_none_to_fail_alone(
    catalog: ModuleType, tmp_path: Path, field: str, odd: Any
) -> None:
    rows = [{"sku": "a", field: odd}, {"sku": "b", "subject_images": ["https://x.test/p.png"]}]
    first, second = arguments(catalog, tmp_path / "catalog.json", json.dumps(rows))
    assert first[field] == odd
    assert second["subject_images"] == ["https://x.test/p.png"]


@pytest.mark.parametrize("sku", [".", ".."])
def test_catalog_names_the_row_whose_sku_is_no_folder(catalog: ModuleType, tmp_path: Path, sku: str) -> None:
    [row] = arguments(catalog, tmp_path / "catalog.csv", f"sku,subject_images\n{sku},https://x.test/p.png\n")
    with pytest.raises(AirflowFailException, match=rf"Row 2 of .* has the sku '{sku}', which is no name of a folder"):
        catalog.fail_alone(row)


def test_catalog_refuses_a_destination_before_anything_is_paid_for(catalog: ModuleType, tmp_path: Path) -> None:
    read = catalog.dag.get_task("read_catalog").python_callable
    with pytest.raises(KlingInputError, match="destination is 'archive', it must be a URL"):
        read((tmp_path / "catalog.csv").as_uri(), "archive")


def test_catalog_keeps_line_breaks_in_a_quoted_prompt(catalog: ModuleType, tmp_path: Path) -> None:
    text = 'sku,subject_images,prompt\na,https://x.test/p.png,"first\nsecond"\n'
    [row] = arguments(catalog, tmp_path / "catalog.csv", text)
    assert row["prompt"] == "first\nsecond"


def test_catalog_reads_what_a_spreadsheet_exports(catalog: ModuleType, tmp_path: Path) -> None:
    [row] = arguments(catalog, tmp_path / "catalog.csv", "\ufeffsku,subject_images\r\na,https://x.test/p.png\r\n")
    assert row["destination"] == "s3://bucket/images/a"


def test_catalog_leaves_a_row_without_subjects_to_fail_alone(catalog: ModuleType, tmp_path: Path) -> None:
    rows = arguments(catalog, tmp_path / "catalog.csv", "sku,subject_images\na,\nb,https://x.test/p.png\n")
    assert [row["subject_images"] for row in rows] == [[], ["https://x.test/p.png"]]


def test_catalog_lets_a_row_without_a_sku_fail_alone_with_its_number(catalog: ModuleType, tmp_path: Path) -> None:
    text = "sku,subject_images\na,https://x.test/p.png\n,,,\n,https://x.test/q.png\n"
    good, wrong = arguments(catalog, tmp_path / "catalog.csv", text)
    assert catalog.fail_alone(good) == good
    sentence = rf"^Row 4 of {tmp_path.as_uri()}/catalog.csv has no sku; nothing was submitted for it\.$"
    with pytest.raises(AirflowFailException, match=sentence):
        catalog.fail_alone(wrong)


@pytest.mark.parametrize("sku", [True, [1], {"a": 1}], ids=str)
def test_catalog_lets_a_row_fail_alone_whose_sku_is_no_text(catalog: ModuleType, tmp_path: Path, sku: Any) -> None:
    [row] = arguments(catalog, tmp_path / "catalog.json", json.dumps([{"sku": sku, "subject_images": ["a.png"]}]))
    with pytest.raises(AirflowFailException, match=r"Row 1 of .* has a sku that is no text"):
        catalog.fail_alone(row)


def test_catalog_of_another_kind_is_named(catalog: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"catalog\.csv has no column sku; it has 'name, subject_images'"):
        arguments(catalog, tmp_path / "catalog.csv", "name,subject_images\na,b\n")


def test_catalog_says_which_columns_it_does_not_use(
    catalog: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments(catalog, tmp_path / "catalog.csv", "sku,subject_images,promt\na,b.png,typo\n")
    assert "Columns that are not used: promt" in caplog.text


# --- try-on ---------------------------------------------------------------------------------------------------------


def test_try_on_is_mapped_over_people_and_garments() -> None:
    dag = load(TRY_ON).dag
    submit, archive = dag.get_task("try_on.submit"), dag.get_task("try_on.archive")
    assert set(dag.task_ids) == {"people", "garments", "try_on.submit", "try_on.wait", "try_on.archive"}
    assert submit.upstream_task_ids == {"people", "garments"}
    assert submit.get_closest_mapped_task_group().group_id == "try_on"
    assert [asset.uri for asset in archive.outlets] == ["kling_images"]


def test_try_on_needs_people_and_garments() -> None:
    from airflow.providers.common.compat.sdk import ParamValidationError

    dag = load(TRY_ON).dag
    values = checked(dag, people=["a.png"], garments=["b.png"])
    assert values["model_name"] is None
    for wrong in ({}, {"people": ["a.png"]}, {"people": [], "garments": ["b.png"]}):
        with pytest.raises(ParamValidationError):
            checked(dag, **wrong)


# --- review -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(AIRFLOW_V_3_1_PLUS, reason="this Airflow can ask a person")
def test_review_is_left_out_where_airflow_cannot_ask_a_person(caplog: pytest.LogCaptureFixture) -> None:
    assert not hasattr(load(REVIEW), "dag")
    assert "kling_review_and_publish is left out: to ask a person needs Airflow 3.1" in caplog.text


@pytest.fixture(scope="module")
def review() -> Any:
    return load(REVIEW).dag


@NEEDS_3_1
def test_review_is_scheduled_by_what_the_other_dags_emit(review: Any, main_dag: Any, catalog: ModuleType) -> None:
    from airflow.sdk import Asset

    from airflow_kling.operators.archiving import DEFAULT_OUTLET

    assert review.schedule == Asset(DEFAULT_OUTLET)
    for archive in (main_dag.get_task("archive"), catalog.dag.get_task("product.picture.generate")):
        assert archive.outlets == [review.schedule]


@NEEDS_3_1
def test_review_asks_for_each_generation_and_publishes_the_answer(review: Any) -> None:
    ask, publish = review.get_task("generation.review"), review.get_task("generation.publish")
    assert set(review.task_ids) == {"archived", "generation.review", "generation.publish"}
    assert ask.get_closest_mapped_task_group().group_id == "generation"
    assert publish.upstream_task_ids == {"generation.review"}
    assert ask.response_timeout.days == 3
    assert ask.defaults is None, "the form starts with nothing ticked"


@NEEDS_3_1
def test_review_can_be_asked_for_by_hand(review: Any) -> None:
    archived = review.get_task("archived")
    assert archived.python_callable(["c", "b", "c"], triggering_asset_events={}) == ["c", "b"]
    assert archived.inlets == [review.schedule], "it reads the history of its events"
    assert archived.max_active_tis_per_dag == 1
