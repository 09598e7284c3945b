"""A finished task is archived in real storage: files on disk, S3 over HTTP, and another storage of fsspec."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.download import download_result
from airflow_kling.archive.summary import summarize
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingInputError
from airflow_kling.storage.base import Store
from airflow_kling.storage.open import open_store

download = functools.partial(download_result, allow_private_hosts=True)


def noise(width: int = 40, height: int = 30, format: str = "PNG") -> bytes:
    data = BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(data, format)
    return data.getvalue()


class Images(ThreadingHTTPServer):
    """Serves ``pages``; what is not there is 404. ``requests`` lists the paths that were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}?signature=SECRET"


class Handler(BaseHTTPRequestHandler):
    server: Images

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        page = self.server.pages.get(path)
        self.send_response_only(404 if page is None else 200)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(page or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def images() -> Iterator[Images]:
    server = Images()
    threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def finished(images: Images, *pages: bytes, **changes: Any) -> dict[str, Any]:
    for index, page in enumerate(pages):
        images.pages[f"/{index}"] = page
    return {
        "kling_task_id": "task-1",
        "external_task_id": None,
        "status": "succeed",
        "status_message": "",
        "images": [{"index": index, "url": images.url(f"/{index}")} for index in range(len(pages))],
        "created_at": "2025-01-01T00:00:00+00:00",
        "updated_at": "2025-01-01T00:00:30+00:00",
        "unit_deduction": "8",
        **changes,
    }


def never() -> dict[str, Any]:
    raise AssertionError("the API was asked without need")


def archive(task: dict[str, Any], store: Store, **options: Any) -> dict[str, Any]:
    run = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    refresh = options.pop("refresh", never)
    options = {"download": download, "run": run, "request": {}, **options}
    fresh = lambda: KlingTask.from_xcom(refresh())  # noqa: E731
    return summarize(archive_task(KlingTask.from_xcom(task), store=store, refresh=fresh, **options))


def test_every_image_and_a_manifest(images, place):
    pages = [noise(), noise(50, 20, "JPEG"), noise(20, 50, "WEBP")]
    summary = archive(finished(images, *pages), place.store, request={"prompt": "p"})
    stored = place.listing()
    manifest = json.loads(stored.pop("task-1/manifest.json"))
    assert stored == {"task-1/0.png": pages[0], "task-1/1.jpg": pages[1], "task-1/2.webp": pages[2]}
    assert summary["manifest"] == place.store.uri("task-1/manifest.json")
    assert summary["kling_task_id"] == "task-1"
    assert summary["images"][1] == {
        "index": 1,
        "uri": place.store.uri("task-1/1.jpg"),
        "sha256": hashlib.sha256(pages[1]).hexdigest(),
        "bytes": len(pages[1]),
        "width": 50,
        "height": 20,
        "content_type": "image/jpeg",
    }
    assert manifest["request"] == {"prompt": "p"}
    assert manifest["images"][0]["source_url"] == images.url("/0").partition("?")[0]
    assert "SECRET" not in json.dumps(manifest)


def test_again_changes_nothing_and_fetches_nothing(images, place):
    task = finished(images, noise(), noise())
    first = archive(task, place.store)
    before = place.listing()
    images.pages.clear()
    assert archive(task, place.store, download=never, run={"dag_id": "another"}) == first
    assert place.listing() == before
    assert len(images.requests) == 2


def test_a_missing_image_is_fetched_again_and_only_that(images, place):
    task = finished(images, noise(), noise(), noise())
    first = archive(task, place.store)
    before = place.listing()
    place.store.remove("task-1/1.png")
    place.store.remove("task-1/1.png")
    assert archive(task, place.store) == first
    assert place.listing() == before
    assert sorted(images.requests) == ["/0", "/1", "/1", "/2"]


def test_an_image_of_the_wrong_size_is_fetched_again(images, place):
    task = finished(images, noise(), noise())
    first = archive(task, place.store)
    before = place.listing()
    place.put("task-1/1.png", b"half of it")
    assert archive(task, place.store) == first
    assert place.listing() == before
    assert sorted(images.requests) == ["/0", "/1", "/1"]


def test_a_file_with_other_bytes_of_the_same_size_is_fetched_again(images, tmp_path):
    task = finished(images, noise())
    store = open_store(tmp_path.as_uri())
    archive(task, store)
    path = tmp_path / "task-1" / "0.png"
    path.write_bytes(bytes(path.stat().st_size))
    archive(task, store)
    assert path.read_bytes() == images.pages["/0"]


def test_images_of_a_killed_run_are_taken_from_the_store(images, place):
    task = finished(images, noise(), noise(format="JPEG"), noise())
    place.put("task-1/0.png", images.pages["/0"])
    place.put("task-1/1.jpg", images.pages["/1"][:-100])
    place.put("task-1/2.jpg", images.pages["/2"])
    archive(task, place.store)
    assert sorted(images.requests) == ["/1", "/2"]
    expected = {"task-1/0.png", "task-1/1.jpg", "task-1/2.png", "task-1/manifest.json"}
    assert set(place.listing()) == expected
    assert place.listing()["task-1/1.jpg"] == images.pages["/1"]


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"version": 99}', bytes(2 * 1024 * 1024)])
def test_a_damaged_manifest_is_written_anew(images, place, damaged):
    task = finished(images, noise())
    archive(task, place.store)
    before = place.listing()
    place.put("task-1/manifest.json", damaged)
    archive(task, place.store)
    assert place.listing() == before
    assert images.requests == ["/0"]


def test_a_manifest_of_another_task_is_not_believed(images, tmp_path):
    store = open_store(tmp_path.as_uri())
    archive(finished(images, noise()), store)
    (tmp_path / "task-1").rename(tmp_path / "task-2")
    summary = archive(finished(images, noise(), kling_task_id="task-2"), store)
    assert summary["images"][0]["uri"].endswith("task-2/0.png")


def test_a_manifest_of_the_version_before_routes_is_kept(images, tmp_path):
    task = finished(images, noise())
    store = open_store(tmp_path.as_uri())
    first = archive(task, store)
    path = tmp_path / "task-1" / "manifest.json"
    old = json.loads(path.read_text())
    assert old["task"].pop("route") == "multi-image-to-image"
    path.write_text(json.dumps(old))
    assert archive(task, store) == first
    assert json.loads(path.read_text()) == old


def test_a_task_of_an_unknown_route_is_refused_before_anything_is_fetched(images, tmp_path):
    with pytest.raises(KlingInputError, match="route is 'of-tomorrow'"):
        archive(finished(images, noise(), route="of-tomorrow"), open_store(tmp_path.as_uri()))
    assert not images.requests


def test_an_expired_url_is_replaced_once_for_all_images(images, place):
    task = finished(images, noise(), noise())
    images.pages |= {"/fresh0": images.pages.pop("/0"), "/fresh1": images.pages.pop("/1")}
    asked = []

    def refresh() -> dict[str, Any]:
        asked.append(1)
        return task | {"images": [{"index": i, "url": images.url(f"/fresh{i}")} for i in (0, 1)]}

    archive(task, place.store, refresh=refresh)
    assert asked == [1]
    assert sorted(url for url in images.requests if "fresh" in url) == ["/fresh0", "/fresh1"]


def test_a_fresh_url_that_has_expired_too_is_an_error(images, place):
    task = finished(images, noise(), noise())
    page = images.pages.pop("/1")
    with pytest.raises(KlingDownloadError, match="HTTP 404") as caught:
        archive(task, place.store, refresh=lambda: task)
    assert caught.value.kling_task_id == "task-1"
    assert sorted(images.requests) == ["/0", "/1", "/1"]
    assert "task-1/manifest.json" not in place.listing()
    images.pages["/1"] = page
    archive(task, place.store)
    assert sorted(images.requests) == ["/0", "/1", "/1", "/1"]


def test_a_fresh_answer_without_the_image_is_an_error(images, tmp_path):
    task = finished(images, noise(), noise())
    images.pages.pop("/1")
    with pytest.raises(KlingError, match="no longer has an image 1"):
        archive(task, open_store(tmp_path.as_uri()), refresh=lambda: task | {"images": task["images"][:1]})


def test_what_is_broken_is_fetched_once_more_and_no_oftener(images, tmp_path):
    task = finished(images, b"no image")
    with pytest.raises(KlingDownloadError) as caught:
        archive(task, open_store(tmp_path.as_uri()), refresh=lambda: task)
    assert caught.value.kling_task_id == "task-1"
    assert images.requests == ["/0", "/0"]
    assert not list(tmp_path.rglob("*.*"))


def test_what_the_guard_refuses_is_not_asked_for_again(images, tmp_path):
    task = finished(images, noise())
    with pytest.raises(KlingDownloadError, match="not https"):
        archive(task, open_store(tmp_path.as_uri()), download=download_result, refresh=never)
    assert not images.requests


def test_a_task_id_from_outside_is_no_path(images, tmp_path):
    with pytest.raises(KlingInputError):
        archive(finished(images, noise(), kling_task_id="../../etc"), open_store(tmp_path.as_uri()))
    assert not images.requests


def test_two_archivers_at_once_give_one_result(images, place):
    task = finished(images, *(noise() for _ in range(4)))
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(archive(task, place.store))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]
    stored = place.listing()
    assert set(stored) == {*(f"task-1/{index}.png" for index in range(4)), "task-1/manifest.json"}
    for image in results[0]["images"]:
        assert hashlib.sha256(stored[f"task-1/{image['index']}.png"]).hexdigest() == image["sha256"]


KILLED = """
import os, signal, sys
from airflow_kling.archive.archiver import archive_task
from airflow_kling.storage import local
from airflow_kling.archive.download import Download
from airflow_kling.storage.open import open_store

copy, left = local.shutil.copyfileobj, [int(sys.argv[3])]
def copy_half(source, target):
    left[0] -= 1
    if not left[0]:
        target.write(source.read(20)); target.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    copy(source, target)
local.shutil.copyfileobj = copy_half
import functools, json
from airflow_kling.archive.download import download_result
download = functools.partial(download_result, allow_private_hosts=True)
from airflow_kling.api.tasks import KlingTask
task = KlingTask.from_xcom(json.loads(sys.argv[1]))
archive_task(task, store=open_store(sys.argv[2]), download=download, refresh=lambda: None, request={}, run={})
"""


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_killed_run_leaves_nothing_half_written_and_the_next_one_cleans_up(images, tmp_path, write):
    """Writes 1 and 2 are the images, at once; 3 is the manifest."""
    task = finished(images, noise(), noise())
    run = subprocess.run([sys.executable, "-c", KILLED, json.dumps(task), tmp_path.as_uri(), str(write)])
    assert run.returncode == -signal.SIGKILL
    published = {path.name: path.read_bytes() for path in (tmp_path / "task-1").iterdir() if path.name[0] != "."}
    assert published.items() <= {f"{i}.png": images.pages[f"/{i}"] for i in (0, 1)}.items()
    assert len(published) < write
    archive(task, open_store(tmp_path.as_uri()))
    assert {path.name for path in (tmp_path / "task-1").iterdir()} == {"0.png", "1.png", "manifest.json"}
    assert sorted(images.requests) == ["/0", "/1"] if write == 3 else True
    assert (tmp_path / "task-1" / "0.png").read_bytes() == images.pages["/0"]


MEASURE = """
import functools, json, sys
from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.download import download_result
from airflow_kling.storage.open import open_store

def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def archive(task):
    download = functools.partial(download_result, allow_private_hosts=True)
    store = open_store(sys.argv[3], aws_conn_id="my_s3")
    task = KlingTask.from_xcom(task)
    return archive_task(task, store=store, download=download, refresh=lambda: None, request={}, run={})

archive(json.loads(sys.argv[1]))  # a small image first: modules, TLS context and clients are not the image's cost
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
archive(json.loads(sys.argv[2]))
print(kib("VmHWM") - before)
"""


CONTROL = """
import sys
from PIL import Image

def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

Image.new("RGB", (8, 8)).tobytes()
Image.preinit()
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
Image.open(sys.argv[1]).load()
print(kib("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_the_measure_of_memory_sees_a_plain_decode(tmp_path, format):
    Image.new("RGB", (4000, 4000)).save(tmp_path / "image", format)
    run = subprocess.run([sys.executable, "-c", CONTROL, str(tmp_path / "image")], capture_output=True, check=True)
    assert int(run.stdout) / 1024 > 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("destination", ["file", "s3"])
@pytest.mark.parametrize(("format", "side"), [("PNG", 4100), ("JPEG", 3510)])
def test_a_50_mb_image_costs_less_than_30_mb_of_memory(
    images, tmp_path, format, side, destination, s3, record_property
):
    """VmHWM and not ru_maxrss, which a child inherits from the process that started it."""
    data = BytesIO()
    pixels = Image.frombytes("RGB", (side, side), os.urandom(side * side * 3))
    options = {"compress_level": 1} if format == "PNG" else {"quality": 100, "subsampling": 0}
    pixels.save(data, format, **options)
    assert len(data.getvalue()) > 48_000_000
    small = finished(images, noise(format=format), kling_task_id="small")
    images.pages["/big"] = data.getvalue()
    big = small | {"kling_task_id": "big", "images": [{"index": 0, "url": images.url("/big")}]}
    where = tmp_path.as_uri() if destination == "file" else "s3://images/pre/fix"
    command = [sys.executable, "-c", MEASURE, json.dumps(small), json.dumps(big), where]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rise = int(run.stdout.split()[-1]) / 1024
    record_property("rise_mib", rise)
    print(f"{format} of {len(data.getvalue()) / 1e6:.1f} MB to {destination}: {rise:.1f} MiB")
    assert rise < 30
