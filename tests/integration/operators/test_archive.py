"""``KlingArchiveImagesOperator``: from a finished task or an id to images, manifest, Asset event and lineage."""

from __future__ import annotations

import hashlib
import http.server
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset
from PIL import Image

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingDownloadError,
    KlingError,
    KlingInputError,
    KlingTaskFailed,
    KlingTaskNotFoundError,
)
from airflow_kling.operators.archive import KlingArchiveImagesOperator

# Everything here downloads from 127.0.0.1, in a fraction of a second.
pytestmark = pytest.mark.usefixtures("quick")


def operator(task: Any, destination: Any, **fields: Any) -> KlingArchiveImagesOperator:
    where = f"file://{destination}" if isinstance(destination, Path) else destination
    return KlingArchiveImagesOperator(task_id="archive", task=task, destination=where, **fields)


@pytest.fixture
def finished(kling: Emulator, submitted: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """A finished task as the sensor returns it."""
    from airflow_kling.hooks.kling import KlingHook

    def finish(**fields: Any) -> dict[str, Any]:
        task_id = submitted(**fields)
        kling.advance(120)
        return KlingHook().get_task(task_id).to_xcom()

    return finish


def downloads(emulator: Emulator) -> int:
    number: int = emulator.ledger()["requests"]["image"]
    return number


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def check(summary: dict[str, Any], folder: Path, number: int) -> None:
    task_id = summary["kling_task_id"]
    names = {f"{task_id}/{index}.png" for index in range(number)}
    stored = files(folder)
    assert set(stored) == names | {f"{task_id}/manifest.json"}
    assert summary["manifest"] == f"file://{folder}/{task_id}/manifest.json"
    assert [image["index"] for image in summary["images"]] == list(range(number))
    for image in summary["images"]:
        data = stored[f"{task_id}/{image['index']}.png"]
        assert image == {
            "index": image["index"],
            "uri": f"file://{folder}/{task_id}/{image['index']}.png",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "width": 64,
            "height": 36,
            "content_type": "image/png",
        }


# --- what it is given -------------------------------------------------------------------------------------------------


def test_finished_task(kling: Emulator, finished: Any, tmp_path: Path) -> None:
    task = finished(n=3)
    queries = kling.ledger()["requests"]["query"]
    check(operator(task, tmp_path).execute({}), tmp_path, 3)
    assert downloads(kling) == 3
    assert kling.ledger()["requests"]["query"] == queries


def test_task_id(finished: Any, tmp_path: Path) -> None:
    check(operator(finished(n=2)["kling_task_id"], tmp_path).execute({}), tmp_path, 2)


def test_finished_task_that_a_template_renders_to_text(finished: Any, tmp_path: Path) -> None:
    task = operator("{{ params.task }}", "{{ params.where }}")
    context: Any = {"params": {"task": finished(), "where": f"file://{tmp_path}"}}
    task.render_template_fields(context)
    check(task.execute(context), tmp_path, 1)


def test_the_route_of_an_id_is_the_operators(finished: Any, kling: Emulator, tmp_path: Path) -> None:
    kling_task_id = finished()["kling_task_id"]
    assert "route" in KlingArchiveImagesOperator.template_fields
    with pytest.raises(KlingInputError, match="route is 'of-tomorrow', must be one of image-expansion, "):
        operator(kling_task_id, tmp_path, route="of-tomorrow").execute({})
    check(operator(kling_task_id, tmp_path, route="multi-image-to-image").execute({}), tmp_path, 1)


@pytest.mark.parametrize("images", [[], None], ids=["asked at once", "asked for fresh URLs"])
def test_the_route_of_a_finished_task_is_its_own(
    images: Any, kling: Emulator, finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_kling.hooks.kling import KlingHook

    get_task, routes = KlingHook.get_task, []

    def recorded(hook: KlingHook, kling_task_id: str, *, route: str) -> Any:
        routes.append(route)
        return get_task(hook, kling_task_id, route=route)

    task = finished()
    kling.advance(3601)
    monkeypatch.setattr(KlingHook, "get_task", recorded)
    given = task if images is None else {**task, "images": images}
    check(operator(given, tmp_path, route="of-tomorrow").execute({}), tmp_path, 1)
    assert routes == ["multi-image-to-image"]


def test_the_manifest_names_the_route(finished: Any, tmp_path: Path) -> None:
    summary = operator(finished(), tmp_path).execute({})
    manifest = json.loads((tmp_path / summary["kling_task_id"] / "manifest.json").read_text())
    assert manifest["task"]["route"] == "multi-image-to-image"


def test_an_xcom_of_the_version_before_routes(finished: Any, tmp_path: Path) -> None:
    old = finished(n=2)
    del old["route"]
    check(operator(old, tmp_path).execute({}), tmp_path, 2)


JUNK = [None, [], {}, {"status": "succeed"}, {"kling_task_id": None}, ["8334"], {"kling_task_id": ""}]


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_junk_is_refused_in_one_sentence(junk: Any, kling: Emulator, tmp_path: Path) -> None:
    with pytest.raises(KlingInputError, match=r"it must be a finished task .* or a Kling task id") as caught:
        operator(junk, tmp_path).execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("odd", ["../../etc", "a/b", "", "x" * 129])
def test_id_that_would_be_a_path_is_refused(odd: str, kling: Emulator, tmp_path: Path) -> None:
    task = {"kling_task_id": odd, "status": "succeed", "images": [{"index": 0, "url": f"{kling.url}/_images/x"}]}
    with pytest.raises(KlingInputError):
        operator(task, tmp_path / "archive").execute({})
    assert files(tmp_path) == {}


NOT_FINISHED: list[tuple[dict[str, Any], str]] = [
    ({"status": "succeed", "images": []}, "there is no such task"),  # asked for once more
    ({"status": "succeed", "images": [{"index": 0, "url": ""}]}, "there is no such task"),
    ({"status": "succeed", "images": [{"index": 0, "url": "a"}, {"index": 0, "url": "b"}]}, "used twice"),
    ({"status": "succeed", "images": [{"index": -1, "url": "a"}]}, "not within 0 to"),
]


@pytest.mark.parametrize(("task", "words"), NOT_FINISHED, ids=str)
def test_task_without_images_to_archive(task: dict[str, Any], words: str, kling: Emulator, tmp_path: Path) -> None:
    with pytest.raises(KlingError, match=words) as caught:
        operator({"kling_task_id": "8334", **task}, tmp_path).execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert files(tmp_path) == {}


def test_task_that_is_still_running_may_be_retried(submitted: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(KlingError, match="'submitted', not succeeded; nothing was archived") as caught:
        operator(submitted(), tmp_path).execute({})
    assert caught.value.retryable
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("reason", ["Image pixel is invalid", "Failure to pass the risk control system"])
def test_failed_task(reason: str, kling: Emulator, submitted: Callable[..., str], tmp_path: Path) -> None:
    kling.faults.add(on="create", action="fail_task", message=reason)
    task_id = submitted()
    kling.advance(120)
    with pytest.raises(KlingTaskFailed, match=reason) as caught:
        operator(task_id, tmp_path).execute({})
    assert caught.value.kling_task_id == task_id
    assert files(tmp_path) == {}


def test_unfinished_task_id(kling: Emulator, submitted: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(KlingError, match="'submitted', not succeeded"):
        operator(submitted(), tmp_path).execute({})


def test_unknown_task_id(kling: Emulator, tmp_path: Path) -> None:
    with pytest.raises(KlingTaskNotFoundError) as caught:
        operator("8334", tmp_path).execute({})
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("destination", ["", "no/scheme", "file://relative", "s3://", "file:///a/../b"])
def test_destination_that_cannot_be_one_once_it_is_rendered(destination: str, finished: Any) -> None:
    task = operator(finished(), "{{ params.destination }}")
    task.destination = destination
    with pytest.raises(KlingInputError) as caught:
        task.execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert "\n" not in str(caught.value)


# --- again, expired, broken -------------------------------------------------------------------------------------------


def test_second_run_changes_nothing(kling: Emulator, finished: Any, tmp_path: Path) -> None:
    task = finished(n=2)
    first = operator(task, tmp_path).execute({})
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    assert operator(task, tmp_path).execute({}) == first
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)} == before
    assert downloads(kling) == 2


def test_missing_image_is_repaired(kling: Emulator, finished: Any, tmp_path: Path) -> None:
    task = finished(n=2)
    first = operator(task, tmp_path).execute({})
    (tmp_path / task["kling_task_id"] / "1.png").unlink()
    assert operator(task, tmp_path).execute({}) == first
    check(first, tmp_path, 2)


def test_expired_urls_are_asked_for_anew(kling: Emulator, finished: Any, tmp_path: Path) -> None:
    task = finished(n=3)
    queries = kling.ledger()["requests"]["query"]
    kling.advance(3601)
    check(operator(task, tmp_path).execute({}), tmp_path, 3)
    assert kling.ledger()["requests"]["query"] == queries + 1
    assert 4 <= downloads(kling) <= 6  # the images that are under way meanwhile find their URL expired too


def test_key_that_is_refused_while_urls_are_renewed(
    kling: Emulator, finished: Any, connect: Callable[..., str], tmp_path: Path
) -> None:
    task = finished()
    kling.advance(3601)
    connect(kling, password="sk-a-wrong-key")
    with pytest.raises(KlingAuthenticationError):
        operator(task, tmp_path).execute({})


BROKEN: list[dict[str, Any]] = [
    {"action": "drop"},
    {"action": "truncate"},
    {"action": "not_an_image"},
    {"action": "error", "status": 500},
]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_partial_failure_leaves_no_half_and_a_retry_goes_on(
    fault: dict[str, Any], kling: Emulator, finished: Any, tmp_path: Path
) -> None:
    task = finished(n=3)
    task_id = task["kling_task_id"]
    fault_id = kling.faults.add(on="image", match={"index": 1}, **fault)
    with pytest.raises(KlingDownloadError) as caught:
        operator(task, tmp_path).execute({})
    assert caught.value.kling_task_id == task_id
    assert caught.value.url == f"{kling.url}/_images/{task_id}/1.png"
    assert "token=" not in str(caught.value)
    stored = set(files(tmp_path))
    assert stored <= {f"{task_id}/0.png", f"{task_id}/2.png"}

    kling.faults.remove(fault_id)
    before = downloads(kling)
    check(operator(task, tmp_path).execute({}), tmp_path, 3)
    assert downloads(kling) == before + 3 - len(stored)


def test_image_over_the_limit_is_refused(finished: Any, tmp_path: Path) -> None:
    with pytest.raises(KlingDownloadError, match="over the limit of 100") as caught:
        operator(finished(), tmp_path, max_image_bytes=100).execute({})
    assert isinstance(caught.value, AirflowFailException)


def test_private_hosts_need_the_connections_consent(
    kling: Emulator, finished: Any, connect: Callable[..., str], tmp_path: Path
) -> None:
    task = finished()
    connect(kling, extra={"allow_private_hosts": False})
    with pytest.raises(KlingDownloadError) as caught:
        operator(task, tmp_path).execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert downloads(kling) == 0


def test_emulators_other_formats_get_their_extension(
    connect: Callable[..., str], subjects: list[str], tmp_path: Path
) -> None:
    from airflow_kling.emulator import EmulatorConfig, serve
    from airflow_kling.hooks.kling import KlingHook

    for kind, extension in (("jpeg", "jpg"), ("webp", "webp")):
        with serve(EmulatorConfig(image_format=kind, image_size=64)) as emulator:
            connect(emulator)
            task_id = KlingHook().submit({"subject_images": subjects}).kling_task_id
            emulator.advance(8)
            [image] = operator(task_id, tmp_path).execute({})["images"]
        assert image["uri"].endswith(f"/{task_id}/0.{extension}")
        assert image["content_type"] == f"image/{kind}"


# --- outlets and lineage ----------------------------------------------------------------------------------------------


class Events(dict[Any, Any]):
    """``context["outlet_events"]`` as far as an operator uses it."""

    class Event:
        def __init__(self) -> None:
            self.extra: dict[str, Any] = {}
            self.added: list[tuple[Any, dict[str, Any]]] = []

        def add(self, asset: Any, extra: dict[str, Any]) -> None:
            self.added.append((asset, extra))

    def __missing__(self, key: Any) -> Any:
        self[key] = self.Event()
        return self[key]


def test_outlets_of_ones_own_get_the_manifest(finished: Any, tmp_path: Path) -> None:
    asset = Asset("kling_images")
    events = Events()
    summary = operator(finished(), tmp_path, outlets=[asset]).execute({"outlet_events": events})
    extra = events[asset].extra
    assert extra.items() > summary.items()
    manifest = json.loads((tmp_path / summary["kling_task_id"] / "manifest.json").read_text())
    assert {name: extra[name] for name in ("request", "task", "run")} == {
        name: manifest[name] for name in ("request", "task", "run")
    }
    assert json.loads(json.dumps(extra)) == extra
    assert len(events) == 1


def test_default_outlet(finished: Any, tmp_path: Path) -> None:
    """An asset that is there before any task runs: made by each mapped task, Airflow would fail all but one of them."""
    events = Events()
    task = operator(finished(), tmp_path)
    assert task.outlets == [Asset("kling_images")]
    summary = task.execute({"outlet_events": events})
    assert events[task.outlets[0]].extra.items() > summary.items()


def test_no_event_when_it_fails(kling: Emulator, finished: Any, tmp_path: Path) -> None:
    kling.faults.add(on="image", action="truncate")
    events = Events()
    with pytest.raises(KlingDownloadError):
        operator(finished(), tmp_path).execute({"outlet_events": events})
    assert events == {}


# --- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    httpx.post(f"{moto}/moto-api/reset", trust_env=False).raise_for_status()
    connection = {
        "conn_type": "aws",
        "login": "an-id",
        "password": "a-secret",
        "extra": {"endpoint_url": moto, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_AWS", json.dumps(connection))
    keys = {"aws_access_key_id": "an-id", "aws_secret_access_key": "a-secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=moto, **keys)
    client.create_bucket(Bucket="bucket")
    return client


@pytest.mark.parametrize(
    ("destination", "fields"),
    [
        ("s3://bucket/images/today", {}),
        ("s3://bucket/images/today", {"aws_conn_id": "team_aws"}),
        ("s3://team_aws@bucket/images/today", {"aws_conn_id": "no_such_connection"}),
    ],
)
def test_s3(destination: str, fields: dict[str, Any], s3: Any, finished: Any) -> None:
    task = finished(n=2)
    summary = operator(task, destination, **fields).execute({})
    base = f"images/today/{task['kling_task_id']}"
    listed = s3.list_objects_v2(Bucket="bucket")["Contents"]
    assert {item["Key"] for item in listed} == {f"{base}/0.png", f"{base}/1.png", f"{base}/manifest.json"}
    assert summary["manifest"] == f"s3://bucket/{base}/manifest.json"
    for image in summary["images"]:
        found = s3.get_object(Bucket="bucket", Key=f"{base}/{image['index']}.png")
        assert hashlib.sha256(found["Body"].read()).hexdigest() == image["sha256"]
        assert found["ContentType"] == "image/png"
        assert image["uri"] == f"s3://bucket/{base}/{image['index']}.png"


def test_s3_upload_arguments_are_seen_on_every_object(s3: Any, finished: Any) -> None:
    arguments = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/images", "StorageClass": "STANDARD_IA"}
    summary = operator(finished(), "s3://bucket/images", s3_extra_args=arguments).execute({})
    for uri in (summary["manifest"], summary["images"][0]["uri"]):
        head = s3.head_object(Bucket="bucket", Key=uri.removeprefix("s3://bucket/"))
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"].endswith("alias/images")
        assert head["StorageClass"] == "STANDARD_IA"


def test_s3_second_run_writes_nothing(kling: Emulator, s3: Any, finished: Any) -> None:
    task = finished()
    first = operator(task, "s3://bucket/images").execute({})
    before = [(item["Key"], item["LastModified"]) for item in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert operator(task, "s3://bucket/images").execute({}) == first
    assert [(item["Key"], item["LastModified"]) for item in s3.list_objects_v2(Bucket="bucket")["Contents"]] == before
    assert downloads(kling) == 1


def test_s3_arguments_elsewhere_are_refused(finished: Any, tmp_path: Path) -> None:
    with pytest.raises(KlingInputError, match="s3:// only"):
        operator(finished(), tmp_path, s3_extra_args={"StorageClass": "GLACIER_IR"}).execute({})


# --- memory -----------------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from airflow_kling.operators.archive import KlingArchiveImagesOperator

def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def archive(name, destination, url):
    task = {"kling_task_id": name, "status": "succeed", "images": [{"index": 0, "url": url}]}
    [image] = KlingArchiveImagesOperator(task_id=name, task=task, destination=destination).execute({})["images"]
    return image["bytes"], peak()

base, destination = sys.argv[1:]
_, before = archive("small", destination, base + "/small.png")
size, after = archive("large", destination, base + "/large.png")
print(size, (after - before) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_50_mb_image_costs_less_than_30_mb_of_memory(
    kling: Emulator, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = tmp_path_factory.mktemp("site")
    side = 4170
    Image.new("RGB", (64, 64)).save(site / "small.png")
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(site / "large.png", compress_level=0)
    assert (site / "large.png").stat().st_size > 50 * 1024 * 1024 - 1024 * 1024

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(site))

        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments = [f"http://127.0.0.1:{server.server_port}", f"file://{tmp_path}"]
        printed = subprocess.run(
            [sys.executable, "-c", MEASURE, *arguments], check=True, capture_output=True, text=True, timeout=120
        )
        server.shutdown()
    size, growth = map(int, printed.stdout.splitlines()[-1].split())
    assert size == (site / "large.png").stat().st_size
    assert growth < 30 * 1024 * 1024


def test_rendered_field_shows_no_key_of_the_customer(tmp_path: Path) -> None:
    arguments = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "{{ 'the-key' }}", "StorageClass": "STANDARD"}
    task = KlingArchiveImagesOperator(task_id="archive", task="1", destination="s3://b/p", s3_extra_args=arguments)
    task.render_template_fields({})
    assert task.s3_extra_args == {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "***", "StorageClass": "STANDARD"}
    assert task.rendered_value("s3_extra_args")["SSECustomerKey"] == "the-key"


def test_rendered_field_shows_no_signature_and_the_images_are_fetched_all_the_same(
    kling: Emulator, finished: Any, tmp_path: Path
) -> None:
    task = operator(finished(n=2), tmp_path)
    assert "token=" in str(task.task)
    task.render_template_fields({})
    assert "token=" not in str(task.task)
    assert task.task["images"][0]["url"].endswith("/0.png")
    queries = kling.ledger()["requests"]["query"]
    check(task.execute({}), tmp_path, 2)
    assert kling.ledger()["requests"]["query"] == queries


@pytest.mark.parametrize(
    ("estimated", "said"),
    [(16.0, "Kling billed 16 units."), (14.0, "Kling billed 16 units, and 14 units had been estimated.")],
)
def test_the_bill_is_logged(
    estimated: float,
    said: str,
    finished: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain_logs: pytest.LogCaptureFixture,
) -> None:
    plain_logs.set_level(logging.INFO)
    monkeypatch.setattr(KlingArchiveImagesOperator, "log", logging.getLogger("of_the_tests"), raising=False)
    monkeypatch.setattr(KlingArchiveImagesOperator, "_asked", lambda *_: {"estimated_units": estimated})
    operator(finished(n=1), tmp_path).execute({})
    [record] = [record for record in plain_logs.records if "billed" in record.getMessage()]
    assert record.getMessage() == said
    assert record.levelno == (logging.INFO if estimated == 16.0 else logging.WARNING)
