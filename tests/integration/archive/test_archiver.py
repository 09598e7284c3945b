"""A finished task into real storage: files on disk, S3 over HTTP, and another storage of fsspec."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.download import download_image
from airflow_kling.archive.manifest import summarize
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingInputError
from airflow_kling.storage.fsspec import FsspecStore
from airflow_kling.storage.open import Store, open_store

download = functools.partial(download_image, allow_private_hosts=True)


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


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="images")
    yield client
    for item in client.list_objects_v2(Bucket="images").get("Contents", ()):
        client.delete_object(Bucket="images", Key=item["Key"])


class MemoryRoot:
    """What FsspecStore uses of an ObjectStoragePath, over a storage whose upload is not atomic."""

    protocol = "memory"

    def __init__(self, path: str) -> None:
        import fsspec

        self.path = path
        self.fs = fsspec.filesystem("memory")

    def __truediv__(self, key: str) -> MemoryRoot:
        return MemoryRoot(f"{self.path}/{key}")


class Place:
    """A store together with a look at what really lies in it."""

    def __init__(
        self, store: Store, listing: Callable[[], dict[str, bytes]], put: Callable[[str, bytes], None]
    ) -> None:
        self.store, self.listing, self.put = store, listing, put


@pytest.fixture(params=["file", "s3", "fsspec"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind = request.param
    if kind == "file":
        root = tmp_path / "new" / "archive"

        def put(key: str, data: bytes) -> None:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(data)

        return Place(
            open_store(root.as_uri()),
            lambda: {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()},
            put,
        )
    if kind == "s3":
        client = request.getfixturevalue("s3")
        return Place(
            open_store("s3://images/pre/fix", aws_conn_id="my_s3"),
            lambda: s3_listing(client),
            lambda key, data: client.put_object(Bucket="images", Key=f"pre/fix/{key}", Body=data),
        )
    store = FsspecStore(f"memory://{tmp_path.name}")
    root = MemoryRoot(f"/{tmp_path.name}")
    store.__dict__["_root"] = root
    return Place(
        store,
        lambda: {p.removeprefix(root.path + "/"): root.fs.cat_file(p) for p in root.fs.find(root.path)},
        lambda key, data: root.fs.pipe_file(f"{root.path}/{key}", data),
    )


def s3_listing(client: Any) -> dict[str, bytes]:
    items = client.list_objects_v2(Bucket="images").get("Contents", ())
    bodies = {item["Key"]: client.get_object(Bucket="images", Key=item["Key"])["Body"].read() for item in items}
    return {key.removeprefix("pre/fix/"): body for key, body in bodies.items()}


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
    options = {"download": download, "refresh": never, "run": run, **options}
    return summarize(archive_task(task, store=store, **options))


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
        archive(task, open_store(tmp_path.as_uri()), download=download_image, refresh=never)
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
from airflow_kling.archive.download import download_image
download = functools.partial(download_image, allow_private_hosts=True)
archive_task(json.loads(sys.argv[1]), store=open_store(sys.argv[2]), download=download, refresh=lambda: None)
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


class Breaks(BytesIO):
    """A file that can be read to its middle only."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if self.tell() > len(self.getvalue()) // 2:
            raise OSError("disk")
        return data


@pytest.mark.parametrize("size", [1, 40])
def test_a_write_that_fails_publishes_nothing(place, size, request):
    with pytest.raises(OSError, match="disk"):
        place.store.write_file("task-1/0.png", Breaks(bytes(size * 1024 * 1024)), content_type="image/png", sha256="")
    assert place.listing() == {}
    if "s3" in request.node.name:
        client = request.getfixturevalue("s3")
        assert not client.list_multipart_uploads(Bucket="images").get("Uploads")


def test_a_write_leaves_the_file_open_and_replaces(place):
    for data in (b"first", b"second one"):
        file = BytesIO(data)
        place.store.write_file("task-1/0.png", file, content_type="image/png", sha256=hashlib.sha256(data).hexdigest())
        assert not file.closed
        assert place.listing() == {"task-1/0.png": data}
        stored = place.store.stat("task-1/0.png")
        assert stored is not None
        assert stored.bytes == len(data)
        assert stored.sha256 in (None, hashlib.sha256(data).hexdigest())
    assert place.store.stat("task-1/1.png") is None
    assert place.store.read_into("task-1/1.png", BytesIO()) is False


def test_s3_gets_content_type_hash_and_the_users_arguments(images, s3):
    extra = {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
        "StorageClass": "STANDARD_IA",
        "Metadata": {"a": "b"},
    }
    store = open_store("s3://my_s3@images/pre/fix", extra_args=extra)
    page = noise(2000, 2000)
    archive(finished(images, page), store)
    head = s3.head_object(Bucket="images", Key="pre/fix/task-1/0.png")
    assert len(page) > 8 * 1024 * 1024
    assert head["ContentLength"] == len(page)
    assert head["ContentType"] == "image/png"
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["Metadata"] == {"a": "b", "sha256": hashlib.sha256(page).hexdigest()}
    manifest = s3.head_object(Bucket="images", Key="pre/fix/task-1/manifest.json")
    assert manifest["ContentType"] == "application/json"


@pytest.mark.parametrize(
    ("config", "extra", "sent"),
    [
        ({}, {}, {"ChecksumSHA256"}),
        ({}, {"ChecksumAlgorithm": "CRC32"}, {"ChecksumCRC32"}),
        ({"request_checksum_calculation": "when_required"}, {}, set()),
    ],
    ids=["ours", "the user's", "none"],
)
def test_s3_compares_a_checksum(s3, s3_endpoint, monkeypatch, config, extra, sent):
    connection = json.loads(os.environ["AIRFLOW_CONN_MY_S3"])
    connection["extra"]["config_kwargs"] = config
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    sha256 = hashlib.sha256(b"data")
    store = open_store("s3://images", aws_conn_id="my_s3", extra_args=extra)
    store.write_file("task-1/0.png", BytesIO(b"data"), content_type="image/png", sha256=sha256.hexdigest())
    head = s3.head_object(Bucket="images", Key="task-1/0.png", ChecksumMode="ENABLED")
    assert {name for name in head if name.startswith("Checksum")} - {"ChecksumType"} == sent
    if "ChecksumSHA256" in sent:
        assert base64.b64decode(head["ChecksumSHA256"]) == sha256.digest()


def test_other_answers_of_s3_are_not_taken_for_not_there(s3):
    from botocore.exceptions import ClientError

    store = open_store("s3://no-such-bucket", aws_conn_id="my_s3")
    with pytest.raises(ClientError):
        store.read_into("t/0.png", BytesIO())


def test_files_have_the_permissions_of_the_umask(images, tmp_path):
    previous = os.umask(0o027)
    try:
        archive(finished(images, noise()), open_store(tmp_path.as_uri()))
    finally:
        os.umask(previous)
    assert (tmp_path / "task-1" / "0.png").stat().st_mode & 0o777 == 0o640


def test_a_living_writer_keeps_its_temporary_file(tmp_path):
    from airflow_kling.storage.local import LocalStore, _temporary

    store = LocalStore(str(tmp_path))
    (tmp_path / "t").mkdir()
    with _temporary(tmp_path / "t" / "0.png") as (temporary, _):
        store.sweep("t")
        assert temporary.exists()
    assert not list((tmp_path / "t").iterdir())


def test_object_storage_path_gives_the_filesystem(tmp_path):
    """Files stand for the storages that need an account: the real ObjectStoragePath works the same over all."""
    store = FsspecStore(tmp_path.as_uri())
    assert (
        store.write_file("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
        == f"{tmp_path.as_uri()}/t/0.png"
    )
    assert (tmp_path / "t" / "0.png").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["0.png"]


MEASURE = """
import functools, json, sys
from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.download import download_image
from airflow_kling.storage.open import open_store

def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def archive(task):
    download = functools.partial(download_image, allow_private_hosts=True)
    store = open_store(sys.argv[3], aws_conn_id="my_s3")
    return archive_task(task, store=store, download=download, refresh=lambda: None)

archive(json.loads(sys.argv[1]))  # a small image first: modules, TLS context and clients are not the image's cost
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
archive(json.loads(sys.argv[2]))
print(kib("VmHWM") - before)
"""


def memory_store(protocol: str) -> FsspecStore:
    store = FsspecStore(f"{protocol}://bucket")
    root = MemoryRoot(f"/{protocol}-bucket")
    root.protocol = protocol
    store.__dict__["_root"] = root
    return store


def test_an_object_store_gets_one_upload_under_the_final_name(monkeypatch):
    store = memory_store("gs")
    uploads = []
    monkeypatch.setattr(type(store._fs), "put_file", lambda fs, local, path: uploads.append((Path(local), path)))
    store.write_file("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    assert [(local.suffix, path) for local, path in uploads] == [(".png", "/gs-bucket/t/0.png")]


def test_a_move_that_fails_leaves_nothing_behind(monkeypatch):
    store = memory_store("memory")

    def fails(*args: object) -> None:
        raise OSError("no move")

    monkeypatch.setattr(type(store._fs), "mv", fails)
    with pytest.raises(OSError, match="no move"):
        store.write_file("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    assert store._fs.find("/memory-bucket") == []


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
