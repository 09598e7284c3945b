"""A destination that can never work is refused while the DAG is parsed, or in its row, and never after paying."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, task

from airflow_kling import kling_image
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.storage.open import open_store
from tests.integration.dag_runs import manifests, states

URLS = ["https://example.com/a.png"]
WRONG = [
    ("s3:/typo", "must be a URL"),
    ("/data/kling", "must be a URL"),
    ("", "must be a URL|has no destination"),
    (None, "must be a URL|has no destination"),
    (Path("/data/kling"), "must be a URL"),
    ("file://relative", "is not an absolute path"),
    ("s3://bucket/a/..", "has '.' or '..' in its path"),
    ("gs://bucket/a#1", "has '\\?' or '#' in its path"),
    ("abfs://container/a?sig=secret", "^abfs://container/a has '\\?' or '#' in its path"),
    ("s3://conn:password@bucket/a", "a password in it"),
]


@pytest.mark.parametrize(("destination", "words"), WRONG)
def test_a_literal_is_checked_as_the_dag_is_parsed(destination: Any, words: str) -> None:
    with pytest.raises(KlingInputError, match=words):
        KlingArchiveImagesOperator(task_id="archive", task="8334", destination=destination)
    with pytest.raises(KlingInputError, match=words):
        KlingPublishImagesOperator(task_id="publish", review="{{ x }}", destination=destination)
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image("shoes", subject_images=URLS, destination=destination)
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image.partial("shoes", subject_images=URLS).expand(destination=["s3://bucket/good", destination])
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image.partial("shoes", subject_images=URLS, destination=destination).expand(prompt=["a", "b"])


def test_upload_arguments_that_a_destination_cannot_take() -> None:
    arguments = {"StorageClass": "GLACIER_IR"}
    with pytest.raises(KlingInputError, match="s3:// only"):
        KlingArchiveImagesOperator(task_id="a", task="8334", destination="file:///data", s3_extra_args=arguments)


def test_what_is_not_known_yet_waits_for_the_run(tmp_path: Path) -> None:
    @task
    def where() -> list[str]: ...

    with DAG("d", schedule=None, params={"destination": "x"}) as dag:
        kling_image("template", subject_images=URLS, destination="{{ params.destination }}")
        kling_image("param", subject_images=URLS, destination=dag.param("destination"))
        kling_image("xcom", subject_images=URLS, destination=where())
        kling_image("path", subject_images=URLS, destination=ObjectStoragePath(tmp_path.as_uri()) / "{{ ds }}")
        kling_image.partial("mapped", subject_images=URLS).expand(destination=where.override(task_id="many")())
    assert {"template.archive", "param.archive", "xcom.archive", "path.archive", "mapped.archive"} <= set(dag.task_ids)


@pytest.mark.parametrize("destination", ["s3://bucket/a#1/k?", "file:///data/c#/why?"])
def test_where_they_are_part_of_a_name_they_stay_in_the_address(destination: str) -> None:
    KlingArchiveImagesOperator(task_id="archive", task="8334", destination=destination)
    assert open_store(destination).uri("8334/manifest.json") == f"{destination}/8334/manifest.json"


@pytest.mark.usefixtures("quick")
def test_a_path_is_a_destination(fast: Emulator, run: Any, archive: Path) -> None:
    source = """
from airflow.providers.common.compat.sdk import DAG, AssetAlias, ObjectStoragePath
from airflow_kling import kling_image

with DAG("kling_path", schedule=None) as dag:
    kling_image(
        "shoes",
        subject_images=SUBJECTS,
        destination=ObjectStoragePath(DESTINATION) / "{{ dag.dag_id }}",
        outlets=[AssetAlias("kling_path")],
        poke_interval=0.05,
    )
"""
    assert set(states(run("kling_path", source)).values()) == {"success"}
    assert len(manifests(archive / "kling_path")) == 1


ROWS = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_kling import kling_image

with DAG("kling_destinations", schedule=None) as dag:

    @task
    def rows():
        return [{"prompt": "a cat", "destination": where} for where in (DESTINATION, DESTINATION + "/..", "s3:/typo")]

    kling_image.partial("product", subject_images=SUBJECTS, poke_interval=0.05).expand_kwargs(rows())
"""


@pytest.mark.usefixtures("quick", "airflow_home")
def test_a_row_whose_destination_cannot_work_fails_alone_and_unpaid(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_destinations", ROWS))
    assert [found[f"product.submit[{row}]"] for row in range(3)] == ["success", "failed", "failed"]
    assert found["product.archive[0]"] == "success"
    assert len(manifests(archive)) == 1
    assert fast.ledger()["requests"]["create"] == 1
