"""Where the links of operators and sensor lead, which a task knows as soon as it knows the Kling task."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.get_provider_info import get_provider_info
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.reporting import links
from airflow_kling.reporting.links import KlingGalleryLink, S3ConsoleLink
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.storage.open import open_store

GALLERY, CONSOLE = KlingGalleryLink(), S3ConsoleLink()
with_gallery = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the gallery needs Airflow 3.1")


@pytest.fixture
def base_url(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow")
    return "https://example.com/airflow"


def address(link: Any, operator: Any, ti: Any) -> str:
    """What Airflow shows when the task has ended or deferred; in Airflow 2 it is what the task has pushed."""
    found = link.get_link(operator=operator, ti_key=ti) if AIRFLOW_V_3_0_PLUS else ti.xcoms.get(link.xcom_key) or ""
    assert isinstance(found, str)
    return found


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
    operator = SimpleNamespace()
    links.set_gallery_link(operator, {"ti": ti}, "8334", at_once=True)  # type: ignore[typeddict-item]
    assert (vars(operator), ti.xcoms) == ({}, {})


@with_gallery
def test_submit(kling: Emulator, subjects: list[str], ti: Any, base_url: str) -> None:
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects)
    kling_task_id = submit.execute({"ti": ti})
    assert leads_to(address(GALLERY, submit, ti), str(kling_task_id), base_url)
    assert GALLERY.xcom_key not in ti.xcoms, "Airflow pushes it in a moment"


def test_a_refused_submission_leads_nowhere(kling: Emulator, subjects: list[str], ti: Any) -> None:
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, negative_prompt="blurred")
    with pytest.raises(KlingInputError):
        submit.execute({"ti": ti})
    assert (address(GALLERY, submit, ti), ti.xcoms) == ("", {})


@with_gallery
def test_the_wait_has_it_when_it_defers(submitted: Callable[..., str], ti: Any, base_url: str) -> None:
    kling_task_id = submitted()
    wait = KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id)
    with pytest.raises(TaskDeferred):
        wait.execute({"ti": ti})
    assert leads_to(address(GALLERY, wait, ti), kling_task_id, base_url)
    assert ti.xcoms == {}


@with_gallery
def test_a_resumed_wait_has_it_again(kling: Emulator, submitted: Callable[..., str], ti: Any, base_url: str) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    wait = KlingTaskSensor(task_id="wait", kling_task_id="rendered anew")
    wait.execute_complete({"ti": ti}, {"status": "succeed"}, kling_task_id=kling_task_id)
    assert leads_to(address(GALLERY, wait, ti), kling_task_id, base_url)


@with_gallery
def test_a_resumed_generation_has_it_again(kling: Emulator, subjects: list[str], ti: Any, base_url: str) -> None:
    generate = KlingMultiImageToImageOperator(task_id="g", subject_images=subjects, wait_for_completion=True)
    with pytest.raises(KlingError):
        generate.execute_complete({"ti": ti}, {"status": "error"}, kling_task_id="unknown")
    assert leads_to(address(GALLERY, generate, ti), "unknown", base_url)


@with_gallery
@pytest.mark.parametrize(("mode", "pushed"), [("poke", True), ("reschedule", False)])
def test_who_holds_a_worker_pushes_it_at_once(
    kling: Emulator, mode: str, pushed: bool, ti: Any, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ti, "get_first_reschedule_date", lambda context: None, raising=False)
    wait = KlingTaskSensor(task_id="wait", kling_task_id="unknown", deferrable=False, mode=mode)
    with pytest.raises(KlingError):
        wait.execute({"ti": ti})
    assert leads_to(address(GALLERY, wait, ti), "unknown", base_url)
    assert (GALLERY.xcom_key in ti.xcoms) is pushed


@with_gallery
@pytest.mark.parametrize(
    ("fields", "pushed"),
    [
        ({"wait_for_completion": True, "deferrable": False}, True),
        ({"destination": "a folder", "deferrable": False}, True),
        ({"wait_for_completion": True, "deferrable": True}, False),
        ({"deferrable": False}, False),
    ],
)
def test_so_does_a_generation(
    kling: Emulator,
    subjects: list[str],
    fields: dict[str, Any],
    pushed: bool,
    ti: Any,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "destination" in fields:
        fields = {**fields, "destination": archive.as_uri()}  # of this test
    generate = KlingMultiImageToImageOperator(task_id="g", subject_images=subjects, **fields)
    monkeypatch.setattr(generate, "wait_here", lambda *_: {"kling_task_id": ti.xcoms["kling_task_id"]})
    with suppress(TaskDeferred):
        generate.execute({"ti": ti})
    assert (GALLERY.xcom_key in ti.xcoms) is pushed
    assert address(GALLERY, generate, ti).endswith(ti.xcoms["kling_task_id"])


@with_gallery
def test_a_failed_wait_has_it(kling: Emulator, ti: Any, base_url: str) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id="unknown")
    with pytest.raises(KlingError):
        wait.execute({"ti": ti})
    assert leads_to(address(GALLERY, wait, ti), "unknown", base_url)


@with_gallery
def test_a_wait_that_started_in_the_triggerer_has_it_when_it_fails(kling: Emulator, ti: Any, base_url: str) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id="unknown")
    with pytest.raises(KlingError):
        wait.execute_complete({"ti": ti}, {"kling_task_id": "unknown", "status": "error"})
    assert leads_to(address(GALLERY, wait, ti), "unknown", base_url)


@with_gallery
def test_a_failed_archive_has_it(kling: Emulator, ti: Any, base_url: str) -> None:
    archive = KlingArchiveImagesOperator(task_id="archive", task="unknown", destination="file:///nowhere")
    with pytest.raises(KlingError):
        archive.execute({"ti": ti})
    assert leads_to(address(GALLERY, archive, ti), "unknown", base_url)
    assert address(CONSOLE, archive, ti) == ""


@pytest.mark.parametrize("task", [{"no": "id"}, ""])
def test_an_archive_of_nothing_leads_nowhere(kling: Emulator, task: Any, ti: Any) -> None:
    archive = KlingArchiveImagesOperator(task_id="archive", task=task, destination="file:///nowhere")
    with pytest.raises(KlingError):
        archive.execute({"ti": ti})
    assert (address(GALLERY, archive, ti), address(CONSOLE, archive, ti), ti.xcoms) == ("", "", {})


@with_gallery
def test_a_copy_of_a_task_keeps_its_own(ti: Any) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id="8334")
    links.set_gallery_link(wait, {"ti": ti}, "8334")  # type: ignore[typeddict-item]
    copied = wait.prepare_for_execution()
    links.set_gallery_link(copied, {"ti": ti}, "8335")  # type: ignore[typeddict-item]
    assert address(GALLERY, wait, ti).endswith("=8334")
    assert address(GALLERY, copied, ti).endswith("=8335")


# --- the S3 console ---------------------------------------------------------------------------------------------------


@pytest.fixture
def console_url(ti: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``console_url("s3://...", region_name=...)``: the link of an archive task, with that connection's extra."""

    def make(destination: str, conn_id: str = "aws_default", **extra: Any) -> str:
        connection = {"conn_type": "aws", "login": "the-key-id", "password": "the-secret", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        make_url = partial(open_store(destination).console_url, "8334")
        operator = SimpleNamespace()
        links.set_s3_console_link(operator, {"ti": ti}, make_url)  # type: ignore[typeddict-item]
        assert ti.xcoms == {} or not AIRFLOW_V_3_0_PLUS
        return address(CONSOLE, operator, ti)

    return make


@pytest.mark.parametrize(
    ("destination", "prefix"),
    [
        ("s3://our-bucket/kling/2027", "kling/2027/8334/"),
        ("s3://our-bucket/kling/", "kling/8334/"),
        ("s3://our-bucket", "8334/"),
    ],
)
def test_the_folder_of_the_task(console_url: Callable[..., str], destination: str, prefix: str) -> None:
    console = "https://console.aws.amazon.com/s3/buckets/our-bucket"
    assert console_url(destination, region_name="eu-west-1") == f"{console}?region=eu-west-1&prefix={prefix}"


def test_the_connection_in_the_destination_comes_first(console_url: Callable[..., str]) -> None:
    url = console_url("s3://theirs@our-bucket/kling", conn_id="theirs", region_name="us-east-2")
    assert "/s3/buckets/our-bucket?region=us-east-2&" in url


def test_an_endpoint_of_ones_own_has_no_console(console_url: Callable[..., str]) -> None:
    assert console_url("s3://our-bucket/kling", endpoint_url="http://127.0.0.1:9000") == ""


def test_an_endpoint_of_s3_alone_has_none_either(console_url: Callable[..., str]) -> None:
    own = {"s3": {"endpoint_url": "http://127.0.0.1:9000"}}
    assert console_url("s3://our-bucket/kling", service_config=own) == ""


def test_nor_has_one_from_the_environment(console_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert console_url("s3://our-bucket/kling", region_name="eu-west-1") == ""


@pytest.mark.parametrize("destination", ["gs://our-bucket/kling", "file:///our/folder"])
def test_other_storage_has_none(console_url: Callable[..., str], destination: str) -> None:
    assert console_url(destination) == ""


def test_no_button_is_worth_a_failed_task(
    console_url: Callable[..., str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert console_url("s3://our-bucket/kling", service_config="not a mapping: the-secret") == ""
    assert f"The task has no {CONSOLE.xcom_key}" in caplog.text
    assert "the-secret" not in caplog.text
