"""What hostile XComs and dead storages can do to others, and what their answers tell: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_kling.plugins.gallery.locations import NOT_READABLE
from airflow_kling.plugins.gallery.storages import SLOTS
from tests.integration.conftest import picture
from tests.integration.plugins.gallery.test_pictures import UNREADABLE, described, place
from tests.integration.plugins.gallery.world import Gallery, Left

Leave = Callable[..., Left]
SECRET = b"root:x:0:0:a file of the API server"


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the API server that is in no setting."""
    folder = Path(f"/tmp/kling-gallery-outside-{os.getpid()}")
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    yield folder
    (folder / "a.png").unlink()
    folder.rmdir()


def places(inside: Path, outside: Path) -> dict[str, tuple[str, bytes]]:
    """Addresses of files, each with the bytes that the XCom claims."""
    whole = picture()
    (inside / "other.png").write_bytes(SECRET)
    (inside / "folder.png").mkdir()
    os.mkfifo(inside / "pipe.png")
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "locked.png").write_bytes(SECRET)
    (inside / "locked.png").chmod(0)
    return {
        "not there": (f"file://{inside}/nothing.png", whole),
        "a folder": (f"file://{inside}/folder.png", whole),
        "a pipe": (f"file://{inside}/pipe.png", whole),
        "larger": (f"file://{inside}/other.png", SECRET[:5]),
        "smaller": (f"file://{inside}/other.png", SECRET * 2),
        "of that size": (f"file://{inside}/other.png", b"x" * len(SECRET)),
        "locked": (f"file://{inside}/locked.png", SECRET[:5]),
        "a link that leads out": (f"file://{inside}/link.png", whole),
        "outside": (f"file://{outside}/a.png", whole),
        "outside and not there": (f"file://{outside}/nothing.png", whole),
        "a path that is none": ("file:///" + "a" * 5000, whole),
        "below a file": (f"file://{inside}/other.png/x.png", whole),
        "dots": (f"file://{inside}/../{inside.name}/../../etc/passwd", whole),
        "another host": ("https://example.com/a.png", whole),
        "no address": ("file://[", whole),
    }


def test_every_reason_that_lies_in_a_place_has_one_answer(
    gallery: Gallery, admin: httpx.Client, left: Leave, tmp_path: Path, outside: Path
) -> None:
    answers = {}
    for name, (uri, content) in places(tmp_path, outside).items():
        one = left()
        reference = {"name": "x", "source": "file", "uri": uri, **described(content)}
        one.archive(gallery.pictures, asked={"references": [reference]})
        answers[name] = told(admin.get(gallery.address(one.generation, "reference", size="thumb")))
    for name, folder in {"none": f"file://{tmp_path}/none", "outside": f"file://{outside}", "s3": "s3://b/c"}.items():
        one = left()
        key = one.generation.kling_task_id
        image = {"index": 0, "uri": f"{folder}/{key}/0.png", **described(picture())}
        one.archive(gallery.pictures, manifest=f"{folder}/{key}/manifest.json", images=[image])
        for what, query in {"image": {"size": "thumb"}, "manifest": {}}.items():
            answers[f"{what} {name}"] = told(admin.get(gallery.address(one.generation, what, **query)))
    assert set(answers.values()) == {(404, json.dumps({"detail": NOT_READABLE}, separators=(",", ":")))}, answers


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.text


def test_file_below_the_folders_is_shown_through_links_within_them(
    gallery: Gallery, admin: httpx.Client, left: Leave, tmp_path: Path
) -> None:
    (tmp_path / "real.png").write_bytes(picture())
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    one = left()
    reference = {"name": "x", "source": "file", "uri": f"file://{tmp_path}/link.png", **described(picture())}
    one.archive(gallery.pictures, asked={"references": [reference]})
    assert admin.get(gallery.address(one.generation, "reference", size="thumb")).status_code == 200


def test_image_that_is_not_shown_is_not_read_again(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    place(gallery, one, UNREADABLE["short pHYs"])
    address = gallery.address(one.generation, "image", size="thumb")
    first = admin.get(address)
    (gallery.folder / "archive" / one.generation.kling_task_id / "0.png").unlink()
    assert told(admin.get(address)) == told(first)
    assert "cannot be scaled down" in first.text


class DeadStorage:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            while True:
                self.asked.append(self._listener.accept()[0])
        except OSError:
            pass

    def end(self) -> None:
        """Refuse connections from now on, and close those that there are."""
        with contextlib.suppress(OSError):  # it has ended before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self.asked:
            one.close()


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadStorage]:
    storage = DeadStorage()
    connection = {"conn_type": "aws", "login": "k", "password": "s", "extra": {"endpoint_url": storage.url}}
    monkeypatch.setenv("AIRFLOW_CONN_DEAD_S3", json.dumps(connection))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield storage
    storage.end()


def in_dead_storage(gallery: Gallery, left: Leave, bucket: str) -> str:
    """The address of a thumbnail whose image lies there."""
    one = left()
    key = one.generation.kling_task_id
    [image, *_] = gallery.pictures.archive(one.generation, on_disk=False)["images"]
    images = [{**image, "uri": f"s3://{bucket}/{key}/0.png"}]
    one.archive(gallery.pictures, manifest=f"s3://{bucket}/{key}/manifest.json", conn_id="dead_s3", images=images)
    return gallery.address(one.generation, "image", size="thumb")


def test_dead_storage_holds_up_no_healthy_picture(
    gallery: Gallery, admin: httpx.Client, left: Leave, dead: DeadStorage
) -> None:
    pytest.importorskip("boto3")
    cached = gallery.address(gallery.open_one, "image", size="thumb")
    assert admin.get(cached).status_code == 200
    addresses = [in_dead_storage(gallery, left, "dead") for _ in range(12)]
    fresh = left()
    fresh.archive(gallery.pictures)
    with ThreadPoolExecutor(len(addresses)) as threads:
        impatient = httpx.Client(base_url=admin.base_url, cookies=admin.cookies, trust_env=False, timeout=60)
        waiting = [threads.submit(impatient.get, address) for address in addresses]
        until(lambda: len(dead.asked) >= SLOTS)
        took = []
        for _ in range(100):
            began = time.perf_counter()
            assert admin.get(cached).status_code == 200
            took.append(time.perf_counter() - began)
        assert admin.get(gallery.address(fresh.generation, "image", size="thumb")).status_code == 200
        dead.end()
        answers = {told(one.result()) for one in waiting}
    assert sorted(took)[98] < 2.0  # milliseconds on an idle machine; the benchmark measures it
    assert answers == {(404, json.dumps({"detail": NOT_READABLE}, separators=(",", ":")))}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_abandoned_requests_wait_for_nothing(
    gallery: Gallery, admin: httpx.Client, left: Leave, dead: DeadStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests whose client has gone leave the queue: what is left of them are the threads of one storage."""
    from airflow_kling.plugins.gallery import answers

    ended: list[Any] = []
    answer = answers._while_connected

    async def noting(request: Any, work: Any) -> Any:
        try:
            return await answer(request, work)
        finally:
            ended.append(request)

    monkeypatch.setattr(answers, "_while_connected", noting)
    addresses = [in_dead_storage(gallery, left, "abandoned") for _ in range(8)]
    clients = [httpx.Client(base_url=admin.base_url, cookies=admin.cookies, trust_env=False) for _ in addresses]
    with ThreadPoolExecutor(len(addresses)) as threads:
        waiting = [threads.submit(_get, *one) for one in zip(clients, addresses, strict=True)]
        until(lambda: len(dead.asked) >= SLOTS)
        for client in clients:
            client.close()
        until(lambda: len(ended) == len(addresses))
        dead.end()
        for one in waiting:
            one.result()


def _get(client: httpx.Client, address: str) -> None:
    with contextlib.suppress(httpx.HTTPError, RuntimeError):
        client.get(address, timeout=httpx.Timeout(60, read=1.0))
