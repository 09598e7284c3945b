"""Images, references and manifests over HTTP: the right ones, and nothing else, whatever an XCom says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from airflow_kling.plugins.gallery.locations import NOT_READABLE
from tests.integration.conftest import picture
from tests.integration.plugins.gallery.seed import Generation
from tests.integration.plugins.gallery.world import Gallery, Left

Leave = Callable[..., Left]


def described(content: bytes, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    known = {"sha256": sha256, "bytes": len(content), "width": 320, "height": 320, "content_type": "image/png"}
    return {**known, **changes}


def place(gallery: Gallery, left: Left, content: bytes, **changes: Any) -> dict[str, Any]:
    """Put a file where image 0 of a generation belongs; returns the XCom's value."""
    folder = gallery.folder / "archive" / left.generation.kling_task_id
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(content)
    image = {"index": 0, "uri": f"file://{folder}/0.png", **described(content), **changes}
    return left.archive(gallery.pictures, images=[image])


@pytest.mark.parametrize(("size", "side"), [("thumb", 480), ("large", 600)])
def test_renditions_are_webp_no_larger_than_wanted(gallery: Gallery, admin: httpx.Client, size: str, side: int) -> None:
    answer = admin.get(gallery.address(gallery.open_one, "image", size=size))
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (side, side))


def test_original_is_the_archived_file_to_download(gallery: Gallery, admin: httpx.Client) -> None:
    one = gallery.open_one
    answer = admin.get(gallery.address(one, "image", index=1, size="original"))
    file = gallery.folder / "archive" / one.kling_task_id / "1.png"
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == f'attachment; filename="{one.kling_task_id}-1.png"'


def test_version_of_an_image_is_that_of_the_record(gallery: Gallery, admin: httpx.Client) -> None:
    sha256 = hashlib.sha256((gallery.folder / "archive" / gallery.open_one.kling_task_id / "0.png").read_bytes())
    for size in ("thumb", "large", "original"):
        versions = {
            v: gallery.address(gallery.open_one, "image", size=size, v=v)
            for v in (sha256.hexdigest()[:12], "0" * 12, "")
        }
        assert [admin.get(address).status_code for address in versions.values()] == [200, 404, 404]


def test_manifest(gallery: Gallery, admin: httpx.Client) -> None:
    answer = admin.get(gallery.address(gallery.open_one, "manifest"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["kling_task_id"] == gallery.open_one.kling_task_id
    assert len(answer.json()["images"]) == 2


def test_what_the_browser_has_is_not_sent_again(gallery: Gallery, admin: httpx.Client) -> None:
    address = gallery.address(gallery.open_one, "image", size="thumb")
    first = admin.get(address)
    again = admin.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = admin.get(gallery.address(gallery.open_one, "image", size="large"))
    assert other.headers["etag"] != first.headers["etag"]
    assert first.headers["cache-control"].startswith("private")


def test_thumbnail_is_kept_and_does_not_need_the_storage_again(
    gallery: Gallery, admin: httpx.Client, left: Leave
) -> None:
    one = left()
    one.archive(gallery.pictures)
    address = gallery.address(one.generation, "image", size="thumb")
    first = admin.get(address)
    os.unlink(gallery.folder / "archive" / one.generation.kling_task_id / "0.png")
    assert admin.get(address).content == first.content
    gone = admin.get(gallery.address(one.generation, "image", size="large"))
    assert (gone.status_code, gone.json()) == (404, {"detail": NOT_READABLE})


def test_what_is_cached_is_not_served_for_another_place(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    assert admin.get(gallery.address(gallery.open_one, "image", size="thumb")).status_code == 200
    other = left()
    [first, *_] = other.archive(gallery.pictures)["images"]
    # The same SHA-256 as a picture that is in the cache, but nothing lies there.
    os.unlink(first["uri"].removeprefix("file://"))
    assert admin.get(gallery.address(other.generation, "image", size="thumb")).status_code == 404


def test_reference_that_was_a_file(gallery: Gallery, admin: httpx.Client, left: Leave, tmp_path: Path) -> None:
    content = picture(700, 500)
    file = tmp_path / "ref.png"
    file.write_bytes(content)
    reference = {"name": "subject_images[0]", "source": "file", "uri": file.as_uri(), **described(content)}
    one = left()
    one.archive(gallery.pictures, asked={"references": [reference]})
    answer = admin.get(gallery.address(one.generation, "reference", size="thumb"))
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (480, 343)
    file.write_bytes(picture(700, 501))  # somebody else's file by now
    assert admin.get(gallery.address(one.generation, "reference", size="large")).status_code == 404


HOSTILE_MANIFESTS = [
    "file:///etc/passwd",
    "file:///etc/{id}/manifest.json/../../passwd",
    "file:///tmp/../etc/{id}/manifest.json",
    "/etc/{id}/manifest.json",
    "http://169.254.169.254/{id}/manifest.json",
    "https://example.com/{id}/manifest.json",
    "github://org:repo@main/{id}/manifest.json",
    "memory://x/{id}/manifest.json",
    "javascript:alert(1)//{id}/manifest.json",
    "s3://user:password@bucket/{id}/manifest.json",
    "file:///tmp/\n/{id}/manifest.json",
    "",
    None,
    17,
    ["file:///tmp"],
    {"uri": "x"},
]


@pytest.mark.parametrize("manifest", HOSTILE_MANIFESTS, ids=lambda one: repr(one)[:40])
def test_no_place_that_an_archive_cannot_be_in_is_read(
    gallery: Gallery, admin: httpx.Client, left: Leave, manifest: Any
) -> None:
    one = left()
    uri = manifest.replace("{id}", one.generation.kling_task_id) if isinstance(manifest, str) else manifest
    one.archive(gallery.pictures, manifest=uri)
    for what in ("manifest", "image"):
        answer = admin.get(gallery.address(one.generation, what))
        assert answer.status_code == 404, answer.text
        assert answer.headers["content-type"] == "application/json"
    assert admin.get("/kling/gallery").status_code == 200


HOSTILE_IMAGES = [
    {"uri": "file:///etc/passwd"},
    {"uri": "file:///etc/shadow", "content_type": "text/plain"},
    {"uri": "javascript:alert(1)"},
    {"uri": "https://example.com/0.png"},
    {"content_type": "image/svg+xml"},
    {"content_type": "text/html"},
    {"index": "../../etc/passwd"},
    {"index": -1},
    {"index": 10**12},
    {"bytes": 10**12},
    {"bytes": -1},
    {"bytes": True},
    {"sha256": "0" * 64},
    {"sha256": None},
    {"sha256": ["x"]},
    {"bytes": 1},
]


@pytest.mark.parametrize("change", HOSTILE_IMAGES, ids=repr)
def test_no_image_but_the_archived_one_is_read(
    gallery: Gallery, admin: httpx.Client, left: Leave, change: dict[str, Any]
) -> None:
    one = left()
    [image, *_] = gallery.pictures.archive(one.generation)["images"]
    one.archive(gallery.pictures, images=[{**image, **change}])
    for size in ("thumb", "original"):
        assert admin.get(gallery.address(one.generation, "image", size=size)).status_code == 404
    assert admin.get("/kling/gallery").status_code == 200


@pytest.mark.parametrize("index", ["../0", "%2e%2e%2f0", "0.png", "", "-1", "99999999999999999999", "1e3"])
def test_index_of_a_request_is_a_number(gallery: Gallery, admin: httpx.Client, index: str) -> None:
    assert admin.get(gallery.address(gallery.open_one, "image", index=index)).status_code in (404, 422)


@pytest.mark.parametrize("map_index", ["-2", "100000000000000000000", "x"])
def test_map_index_of_a_request_is_one(gallery: Gallery, admin: httpx.Client, map_index: str) -> None:
    for what in ("image", "reference", "manifest"):
        address = gallery.address(gallery.open_one, what).replace("map_index=-1", f"map_index={map_index}")
        assert admin.get(address).status_code == 422


@pytest.mark.parametrize("name", ["run_id", "task_id", "kling_task_id"])
def test_nul_in_a_name_is_no_generation(gallery: Gallery, admin: httpx.Client, name: str) -> None:
    address = gallery.address(gallery.open_one, "image")
    answer = admin.get(re.sub(rf"\b{name}=[^&]*", r"\g<0>%00", address))
    assert (answer.status_code, answer.json()) == (404, {"detail": "This generation does not exist."})


@pytest.mark.parametrize("kling_task_id", ["../../etc", "..", "%2e%2e%2f", "x' OR '1'='1", "a" * 5000, "\x00"])
def test_ids_of_a_request_are_only_looked_up(gallery: Gallery, admin: httpx.Client, kling_task_id: str) -> None:
    one = gallery.open_one
    query = {"run_id": one.run_id, "task_id": "archive", "kling_task_id": kling_task_id, "index": 0}
    assert admin.get("/kling/dags/open/image", params=query).status_code == 404


@pytest.mark.parametrize("path", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/app.py", "gallery.css%00"])
def test_no_path_leads_out_of_the_static_files(admin: httpx.Client, path: str) -> None:
    answer = admin.get(f"/kling/static/{path}")
    assert answer.status_code == 404 or "<!doctype html>" in answer.text.lower()  # the client folds "..": Airflow's UI
    assert "root:" not in answer.text
    assert "import" not in answer.text


HTML = b"<html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize("content", [HTML, SVG, b"root:x:0:0", picture()[:-20], picture()[:8] + b"\0" * 64])
def test_what_is_no_image_is_not_shown(gallery: Gallery, admin: httpx.Client, left: Leave, content: bytes) -> None:
    one = left()
    place(gallery, one, content)
    for size in ("thumb", "large", "original"):
        assert admin.get(gallery.address(one.generation, "image", size=size)).status_code == 404


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, filter_type: int = 0) -> bytes:
    """A grey PNG with further chunks behind its header."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 320, 320, 8, 0, 0, 0, 0))
    lines = (bytes([filter_type]) + bytes(320)) * 320
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")])


UNREADABLE = {
    "long text": png(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 * 1024 * 1024)))),
    "short pHYs": png(chunk(b"pHYs", b"\0")),
    "impossible filter": png(filter_type=9),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_whole_image_that_cannot_be_scaled_can_be_downloaded(
    gallery: Gallery, admin: httpx.Client, left: Leave, content: bytes
) -> None:
    one = left()
    place(gallery, one, content)
    answer = admin.get(gallery.address(one.generation, "image", size="thumb"))
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "The image cannot be scaled down; its original can be downloaded."},
    )
    assert admin.get(gallery.address(one.generation, "image", size="original")).content == content


def test_type_is_that_of_the_content(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    place(gallery, one, picture(kind="JPEG"))  # called a PNG
    answer = admin.get(gallery.address(one.generation, "image", size="original"))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_image_of_too_many_pixels_is_not_decoded(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 1_000)).save(out, "PNG")
    one = left()
    place(gallery, one, out.getvalue())
    assert admin.get(gallery.address(one.generation, "image", size="thumb")).status_code == 404


def test_pipe_in_the_place_of_an_image_holds_nobody(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.archive(gallery.pictures)
    file = gallery.folder / "archive" / one.generation.kling_task_id / "0.png"
    file.unlink()
    os.mkfifo(file)
    assert admin.get(gallery.address(one.generation, "image", size="thumb"), timeout=60).status_code == 404


def test_manifest_of_something_else_is_not_shown(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.archive(gallery.pictures)
    file = gallery.folder / "archive" / one.generation.kling_task_id / "manifest.json"
    other = gallery.folder / "archive" / gallery.open_one.kling_task_id / "manifest.json"
    for content in (other.read_bytes(), b'{"secret": 1}', b"root:x:0:0", b" " * (2 * 1024 * 1024)):
        file.write_bytes(content)
        answer = admin.get(gallery.address(one.generation, "manifest"))
        assert answer.status_code == 404
        assert "secret" not in answer.text


REFERENCES = [
    {"source": "url", "uri": "https://example.com/a.png"},
    {"source": "file", "uri": "https://example.com/a.png", "sha256": "0" * 64, "bytes": 10},
    {"source": "file", "uri": "file:///etc/passwd"},
    {"source": "file", "uri": "file:///etc/passwd", "sha256": "0" * 64, "bytes": 10**9},
    {"source": "file", "uri": "file:///etc/passwd", "sha256": "0" * 64, "bytes": 1000},
    {"source": "bytes", "sha256": "0" * 64},
    {"source": "file", "uri": "file:///dev/zero", "sha256": "0" * 64, "bytes": 1000},
    {"source": "file", "uri": 5},
]


@pytest.mark.parametrize("reference", REFERENCES, ids=repr)
def test_no_other_reference_is_read(
    gallery: Gallery, admin: httpx.Client, left: Leave, reference: dict[str, Any]
) -> None:
    one = left()
    one.archive(gallery.pictures, asked={"references": [{"name": "x", **reference}]})
    assert admin.get(gallery.address(one.generation, "reference", size="thumb")).status_code == 404


def test_storage_that_fails_says_nothing_of_itself(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    destination = "s3://bucket-of-nobody/kling"
    [image, *_] = gallery.pictures.archive(one.generation)["images"]
    key = one.generation.kling_task_id
    one.archive(
        gallery.pictures,
        manifest=f"{destination}/{key}/manifest.json",
        conn_id="no_such_connection",
        images=[{**image, "uri": f"{destination}/{key}/0.png"}],
    )
    answer = admin.get(gallery.address(one.generation, "image", size="thumb"))
    assert (answer.status_code, answer.json()) == (404, {"detail": NOT_READABLE})


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``s3(conn_id, key, content)``: an object in the bucket ``pictures``, which that connection alone reaches."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="pictures")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("airflow.sdk.io.store._STORE_CACHE", {})  # Airflow keeps a connection's storage for ever

    def put(conn_id: str, key: str, content: bytes) -> None:
        client.put_object(Bucket="pictures", Key=key, Body=content)
        connection = {"conn_type": "aws", "login": "k", "password": "s", "extra": {"endpoint_url": url}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    yield put
    server.stop()


def test_archive_in_s3_is_read_through_its_connection(
    gallery: Gallery, admin: httpx.Client, left: Leave, s3: Callable[..., None]
) -> None:
    content = picture()
    one = left()
    key = one.generation.kling_task_id
    s3("gallery_s3", f"kling/{key}/0.png", content)
    one.archive(
        gallery.pictures,
        manifest=f"s3://pictures/kling/{key}/manifest.json",
        conn_id="gallery_s3",
        images=[{"index": 0, "uri": f"s3://pictures/kling/{key}/0.png", **described(content)}],
    )
    answer = admin.get(gallery.address(one.generation, "image", size="original"))
    assert answer.status_code == 200, answer.text
    assert answer.content == content
    assert admin.get(gallery.address(one.generation, "manifest")).status_code == 404


def test_reference_in_s3_is_read_as_the_submitting_task_has_read_it(
    gallery: Gallery, admin: httpx.Client, left: Leave, s3: Callable[..., None]
) -> None:
    content = picture(700, 500)
    s3("aws_default", "in/a.png", content)
    reference = {"name": "subject_images[0]", "source": "file", "uri": "s3://pictures/in/a.png", **described(content)}
    one = left()
    one.archive(gallery.pictures, asked={"references": [reference]})
    answer = admin.get(gallery.address(one.generation, "reference", size="thumb"))
    assert answer.status_code == 200, answer.text


def test_image_of_a_generation_that_still_runs_is_not_there(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left(states={"submit": "success", "wait": "deferred"})
    one.request(gallery.pictures)
    address = gallery.address(one.generation, "image").replace("task_id=archive", "task_id=submit")
    assert admin.get(address).json() == {"detail": "This generation is not archived."}
    nobody = Generation(1, "open", "no-such-run")
    assert admin.get(gallery.address(nobody, "image")).json() == {"detail": "This generation does not exist."}
