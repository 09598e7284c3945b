"""What operators and sensor push for their links, and when: as soon as the Kling task is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.get_provider_info import get_provider_info
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.reporting import links
from airflow_kling.reporting.links import KlingGalleryLink, S3ConsoleLink
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.storage.open import open_store

GALLERY, CONSOLE = KlingGalleryLink.xcom_key, S3ConsoleLink.xcom_key
with_gallery = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the gallery needs Airflow 3.1")


@pytest.fixture
def base_url(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow")
    return "https://example.com/airflow"


def leads_to(url: str, kling_task_id: str, base_url: str) -> bool:
    parts = urlsplit(url)
    assert url.startswith(f"{base_url}/kling/gallery?")
    return dict(parse_qsl(parts.query)) == {"dag_id": "dag", "run_id": "run", "kling_task_id": kling_task_id}


def test_airflow_knows_the_links() -> None:
    registered = {path.rpartition(".")[2] for path in get_provider_info()["extra-links"]}  # type: ignore[attr-defined]
    kinds = (KlingMultiImageToImageOperator, KlingTaskSensor, KlingArchiveImagesOperator)
    used = {type(link).__name__ for kind in kinds for link in kind.operator_extra_links}
    assert registered == {"KlingGalleryLink", "S3ConsoleLink"}
    assert used == (registered if AIRFLOW_V_3_1_PLUS else {"S3ConsoleLink"})


def test_where_there_is_no_gallery_there_is_no_link(ti: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "GALLERY_LINKS", ())
    links.push_gallery_link({"ti": ti}, "8334")  # type: ignore[typeddict-item]
    assert ti.xcoms == {}


@with_gallery
def test_submit(kling: Emulator, subjects: list[str], ti: Any, base_url: str) -> None:
    kling_task_id = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects).execute({"ti": ti})
    assert leads_to(ti.xcoms[GALLERY], str(kling_task_id), base_url)


def test_a_refused_submission_leads_nowhere(kling: Emulator, subjects: list[str], ti: Any) -> None:
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, negative_prompt="blurred")
    with pytest.raises(KlingInputError):
        submit.execute({"ti": ti})
    assert ti.xcoms == {}


@with_gallery
def test_the_wait_has_it_before_it_defers(submitted: Callable[..., str], ti: Any, base_url: str) -> None:
    kling_task_id = submitted()
    with pytest.raises(TaskDeferred):
        KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id).execute({"ti": ti})
    assert leads_to(ti.xcoms[GALLERY], kling_task_id, base_url)


@with_gallery
def test_a_failed_wait_has_it(kling: Emulator, ti: Any, base_url: str) -> None:
    with pytest.raises(KlingError):
        KlingTaskSensor(task_id="wait", kling_task_id="unknown").execute({"ti": ti})
    assert leads_to(ti.xcoms[GALLERY], "unknown", base_url)


@with_gallery
def test_a_wait_that_started_in_the_triggerer_has_it_when_it_fails(kling: Emulator, ti: Any, base_url: str) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id="unknown")
    with pytest.raises(KlingError):
        wait.execute_complete({"ti": ti}, {"kling_task_id": "unknown", "status": "error"})
    assert leads_to(ti.xcoms[GALLERY], "unknown", base_url)


@with_gallery
def test_a_failed_archive_has_it(kling: Emulator, ti: Any, base_url: str) -> None:
    with pytest.raises(KlingError):
        KlingArchiveImagesOperator(task_id="archive", task="unknown", destination="file:///nowhere").execute({"ti": ti})
    assert leads_to(ti.xcoms[GALLERY], "unknown", base_url)
    assert ti.xcoms[CONSOLE] == ""


@pytest.mark.parametrize("task", [{"no": "id"}, ""])
def test_an_archive_of_nothing_leads_nowhere(kling: Emulator, task: Any, ti: Any) -> None:
    with pytest.raises(KlingError):
        KlingArchiveImagesOperator(task_id="archive", task=task, destination="file:///nowhere").execute({"ti": ti})
    assert ti.xcoms == {}


# --- the S3 console ---------------------------------------------------------------------------------------------------


@pytest.fixture
def console_url(ti: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """``console_url("s3://...", region_name=...)``: what the archive task pushes, with that connection's extra."""

    def push(destination: str, conn_id: str = "aws_default", **extra: Any) -> str | None:
        connection = {"conn_type": "aws", "login": "the-key-id", "password": "the-secret", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        make_url = partial(open_store(destination).console_url, "8334")
        links.push_s3_console_link({"ti": ti}, make_url)  # type: ignore[typeddict-item]
        url: str | None = ti.xcoms.get(CONSOLE)
        return url

    return push


@pytest.mark.parametrize(
    ("destination", "prefix"),
    [
        ("s3://our-bucket/kling/2027", "kling/2027/8334/"),
        ("s3://our-bucket/kling/", "kling/8334/"),
        ("s3://our-bucket", "8334/"),
    ],
)
def test_the_folder_of_the_task(console_url: Callable[..., str | None], destination: str, prefix: str) -> None:
    console = "https://console.aws.amazon.com/s3/buckets/our-bucket"
    assert console_url(destination, region_name="eu-west-1") == f"{console}?region=eu-west-1&prefix={prefix}"


def test_the_connection_in_the_destination_comes_first(console_url: Callable[..., str | None]) -> None:
    url = console_url("s3://theirs@our-bucket/kling", conn_id="theirs", region_name="us-east-2")
    assert url is not None
    assert "/s3/buckets/our-bucket?region=us-east-2&" in url


def test_an_endpoint_of_ones_own_has_no_console(console_url: Callable[..., str | None]) -> None:
    assert console_url("s3://our-bucket/kling", endpoint_url="http://127.0.0.1:9000") == ""


def test_an_endpoint_of_s3_alone_has_none_either(console_url: Callable[..., str | None]) -> None:
    own = {"s3": {"endpoint_url": "http://127.0.0.1:9000"}}
    assert console_url("s3://our-bucket/kling", service_config=own) == ""


def test_nor_has_one_from_the_environment(
    console_url: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert console_url("s3://our-bucket/kling", region_name="eu-west-1") == ""


@pytest.mark.parametrize("destination", ["gs://our-bucket/kling", "file:///our/folder"])
def test_other_storage_has_none(console_url: Callable[..., str | None], destination: str) -> None:
    assert console_url(destination) == ""


def test_no_button_is_worth_a_failed_task(
    console_url: Callable[..., str | None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert console_url("s3://our-bucket/kling", service_config="not a mapping: the-secret") is None
    assert f"The task has no {CONSOLE}" in caplog.text
    assert "the-secret" not in caplog.text
