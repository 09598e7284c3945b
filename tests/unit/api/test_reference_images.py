"""Reference images: every form a user may give, every limit at its edge, and never a payload in an error."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import pytest
from PIL import Image

from airflow_kling.api.redact import redact_url, redact_urls_in
from airflow_kling.api.reference_checks import check_reference_literal
from airflow_kling.api.reference_images import Reference, load_reference
from airflow_kling.api.route import IMAGE
from airflow_kling.exceptions import KlingInputError
from tests.unit.media import crafted

NAME = "subject_images[1]"


def image(width=400, height=300, format="PNG", **options) -> bytes:
    data = BytesIO()
    Image.new("RGB", (width, height), "teal").save(data, format, **options)
    return data.getvalue()


def noise(width=320, height=320, format="JPEG", **options) -> bytes:
    data = BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(data, format, **options)
    return data.getvalue()


def refused(reference: object, **options) -> str:
    with pytest.raises(KlingInputError) as caught:
        load_reference(reference, name=NAME, **options)
    message = str(caught.value)
    assert message.startswith(NAME)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400
    return message


class OpensItself:
    """A path object by duck typing, as ObjectStoragePath is one."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self, mode: str) -> BytesIO:
        assert mode == "rb"
        return BytesIO(self.data)

    def __str__(self) -> str:
        return "s3://conn@bucket/a.png"


class ReadsBytes:
    def read_bytes(self) -> bytes:
        return image()

    def __str__(self) -> str:
        return "gs://bucket/a.png"


class PathLike:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("url", ["https://h.example/a.png?sig=SECRET#f", "HTTP://h.example:8080/a", "https://h/ä.png"])
def test_a_url_goes_out_unchanged_and_is_described_without_its_query(url):
    reference = load_reference(url, name=NAME)
    assert reference.wire == url
    assert reference.description == {"name": NAME, "source": "url", "uri": redact_url(url)}
    assert "SECRET" not in repr(reference)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://u:SECRET@h.example/a.png", "credentials"),
        ("https://SECRET@h.example/a.png", "credentials"),
        ("https://h.example/a b.png?k=SECRET", "spaces"),
        ("https://h.example/a.png?k=SECRET\n", "spaces"),
        ("https://?k=SECRET", "without a host"),
        ("https://h.example:99999/a", "not a valid URL"),
        ("https://[::1/a?k=SECRET", "not a valid URL"),
    ],
)
def test_an_unusable_url_is_refused_early_and_late(url, reason):
    assert reason in refused(url)
    with pytest.raises(KlingInputError, match=reason) as caught:
        check_reference_literal(url, name=NAME)
    assert "SECRET" not in str(caught.value)


def test_every_local_form_gives_the_same_image(tmp_path):
    data = image()
    path = tmp_path / "a cat#1.png"
    path.write_bytes(data)
    encoded = base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()
    forms = {
        "file": [str(path), path, PathLike(path), OpensItself(data), ReadsBytes()],
        "bytes": [data, bytearray(data), memoryview(data)],
        "base64": [encoded, wrapped, f"data:image/png;base64,{encoded}", f"DATA:;base64,{encoded}"],
    }
    for source, references in forms.items():
        for form in references:
            reference = load_reference(form, name=NAME)
            assert reference.wire == encoded
            uri = reference.description.pop("uri", None)
            assert (uri is not None) == (source == "file")
            assert reference.description == {
                "name": NAME,
                "source": source,
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
                "width": 400,
                "height": 300,
                "content_type": "image/png",
            }
            assert encoded[:40] not in repr(reference)


def test_files_are_described_by_uri(tmp_path):
    path = tmp_path / "a b.png"
    path.write_bytes(image())
    assert load_reference(path, name=NAME).description["uri"] == path.as_uri()
    assert load_reference(OpensItself(image()), name=NAME).description["uri"] == "s3://bucket/a.png"


def test_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(image())
    monkeypatch.chdir(tmp_path)
    assert load_reference("a.png", name=NAME).description["uri"] == (tmp_path / "a.png").as_uri()


@pytest.mark.parametrize("url", ["s3://bucket/a.png", "file:///data/a.png", "gs://conn@bucket/a.png"])
def test_object_storage_is_opened_by_the_callers_function(url):
    opened = []

    def open_file(location: str) -> BytesIO:
        opened.append(location)
        return BytesIO(image())

    reference = load_reference(url, name=NAME, open_file=open_file)
    assert opened == [url]
    assert reference.description["uri"] == redact_url(url)
    assert "cannot be opened here" in refused(url)


def test_an_object_that_cannot_be_opened_is_named():
    def open_file(location: str) -> BytesIO:
        raise FileNotFoundError(2, "No such file", location)

    assert "s3://bucket/gone.png: No such file" in refused("s3://bucket/gone.png", open_file=open_file)


def test_a_reader_that_answers_in_pieces_is_read_to_its_end():
    class Pieces(BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1000))

    reference = load_reference("s3://b/a", name=NAME, open_file=lambda url: Pieces(noise()))
    assert reference.description["width"] == 320


def test_no_more_than_the_limit_and_one_byte_are_read():
    class Endless(BytesIO):
        asked = 0

        def read(self, size=-1):
            Endless.asked += size
            return b"\0" * size

    message = refused("s3://b/a", open_file=lambda url: Endless())
    assert Endless.asked == IMAGE.max_bytes + 1
    assert f"at least {IMAGE.max_bytes + 1} bytes, over the limit of {IMAGE.max_bytes} (10 MB)" in message


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.png"
    with open(path, "wb") as file:
        file.truncate(5 * 1024**3)
    assert f"has {5 * 1024**3} bytes" in refused(path)


@pytest.mark.parametrize(
    ("size", "accepted"),
    [
        ((299, 400), False),
        ((400, 299), False),
        ((300, 300), True),
        ((750, 300), True),
        ((300, 750), True),
        ((753, 300), False),
        ((751, 300), False),
        ((300, 751), False),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_pixels_and_ratio(size, accepted, format):
    if accepted:
        description = load_reference(image(*size, format), name=NAME).description
        assert (description["width"], description["height"]) == size
    else:
        assert f"{size[0]}x{size[1]} px" in refused(image(*size, format))


def png_of(size: int) -> bytes:
    """A whole PNG of exactly ``size`` bytes, filled up with a private chunk."""
    data = image()
    fill = bytes(size - len(data) - 12)
    chunk = struct.pack(">I4s", len(fill), b"prIv") + fill + struct.pack(">I", zlib.crc32(b"prIv" + fill))
    return data[:-12] + chunk + data[-12:]


def test_bytes_at_the_limit():
    exact = png_of(IMAGE.max_bytes)
    assert load_reference(exact, name=NAME).description["bytes"] == IMAGE.max_bytes
    assert load_reference(base64.encodebytes(exact).decode(), name=NAME).description["bytes"] == IMAGE.max_bytes
    over = png_of(IMAGE.max_bytes + 1)
    for form in (over, base64.b64encode(over).decode(), OpensItself(over)):
        assert "over the limit" in refused(form)
    assert "over the limit" in refused("A" * 20_000_000)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_named_whatever_the_file_is_called(format, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(image(format=format))
    assert f"is a {format} image" in refused(path)
    assert f"is a {format} image" in refused(base64.b64encode(path.read_bytes()).decode())


def test_an_animated_png_is_refused():
    frames = [Image.new("RGB", (300, 300), colour) for colour in ("red", "blue")]
    data = BytesIO()
    frames[0].save(data, "PNG", save_all=True, append_images=frames[1:])
    assert "animated PNG" in refused(data.getvalue())


def test_metadata_has_no_limit_of_its_own():
    """Pillow refuses a PNG with more than 1 MB of text."""
    whole = image()
    text = zlib.compress(b"x" * 2**21)
    for kind, data in ((b"tEXt", b"Comment\0" + b"x" * 2**21), (b"zTXt", b"Comment\0\0" + text)):
        full = whole[:33] + crafted.chunk(kind, data) + whole[33:]
        assert load_reference(full, name=NAME).description["bytes"] == len(full)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (crafted.progressive_jpeg(400, 400, scans=101), "has more than 100 scans"),
        (crafted.jpeg(*[crafted.segment(0xE1, b"")] * 10_001), "has more than 10000 segments"),
        (crafted.animated_webp(16_000), "is a WEBP image"),
        (crafted.jpeg(crafted.frame(65_000, 65_000)), "pixels; scale the image down"),
    ],
    ids=["scans", "segments", "canvas", "pixels"],
)
def test_what_would_cost_much_to_decode_is_refused_undecoded(data, reason):
    assert reason in refused(data)
    assert reason in refused(base64.b64encode(data).decode())


def test_a_phones_jpeg_with_two_pictures_is_a_jpeg():
    frames = [Image.new("RGB", (400, 300), colour) for colour in ("red", "blue")]
    data = BytesIO()
    frames[0].save(data, "MPO", save_all=True, append_images=frames[1:])
    assert load_reference(data.getvalue(), name=NAME).description["content_type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"quality": 100})]
)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_image_is_refused(format, options, share):
    whole = noise(format=format, **options)
    assert load_reference(whole, name=NAME)
    cut = whole[: int(len(whole) * share)]
    assert "cut off or damaged" in refused(cut)
    refused(base64.b64encode(cut).decode())


def test_a_png_without_its_last_chunk_or_with_a_flipped_bit_is_refused():
    whole = noise(format="PNG")
    assert "cut off or damaged" in refused(whole[:-12])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    assert "cut off or damaged" in refused(bytes(flipped))


def test_a_decompression_bomb_is_refused_from_its_header():
    def bomb(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return image()[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + image()[33:]

    for side in (11_000, 60_000):  # Pillow warns of the one and raises on the other
        assert "pixels; scale the image down" in refused(bomb(side, side))
        assert "pixels; scale the image down" in refused(base64.b64encode(bomb(side, side)).decode())


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0" * 100])
def test_bytes_that_are_no_image(data):
    refused(data)


def test_base64_of_a_jpeg_is_no_path_though_it_begins_with_a_slash():
    encoded = base64.b64encode(noise()).decode()
    assert encoded.startswith("/9j/")
    assert load_reference(encoded, name=NAME).description["source"] == "base64"
    assert "base64 of" in refused(encoded[:-3])
    assert "base64 of" in refused("/9j/4AAQ-_zz")


@pytest.mark.parametrize(
    "text",
    [
        "cat.png",
        "images/cat",
        "/no/such/file.png",
        "x" * 5000,
        "a\0b",
        "https:/h.example/a.png",
        base64.b64encode(b"no image at all").decode(),
    ],
)
def test_text_that_is_nothing_gets_a_clear_error(text):
    assert "neither an existing file, nor an http(s) URL, nor base64 of an image" in refused(text)


def test_files_that_cannot_be_read(tmp_path):
    assert "directory" in refused(tmp_path)
    assert "directory" in refused(str(tmp_path))
    (tmp_path / "empty.png").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "empty.png")
    assert "No such file" in refused(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe")
    assert "device" in refused(tmp_path / "pipe")
    assert "cannot be read" in refused(pathlib.Path("x" * 5000))
    assert "null" in refused(pathlib.Path("a\0b"))


@pytest.fixture
def without_roots_rights():
    """Root reads everything, and CI runs as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_file_without_permission(tmp_path, request):
    path = tmp_path / "secret.png"
    path.write_bytes(image())
    path.chmod(0)
    request.getfixturevalue("without_roots_rights")
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize("value", ["", "  ", b"", bytearray(), None, 7, True, 1.5, [], {}, ("a.png",)])
def test_what_is_never_an_image_is_refused_when_the_dag_is_parsed(value):
    with pytest.raises(KlingInputError, match=r"^subject_images\[1\] is "):
        check_reference_literal(value, name=NAME)
    refused(value)


@pytest.mark.parametrize("value", ["ftp://h/a.png", "data:image/png,AAAA", "data:text", "javascript://x"])
def test_unsupported_urls_are_refused_when_the_dag_is_parsed(value):
    with pytest.raises(KlingInputError):
        check_reference_literal(value, name=NAME)


@pytest.mark.parametrize(
    "value", ["{{ params.a }}", "https://{{ host }}/a b", "{% if x %}a{% endif %}", "a.png", "s3://b/k", b"x", object()]
)
def test_templates_and_possible_references_pass_when_the_dag_is_parsed(value):
    check_reference_literal(value, name=NAME)


def test_an_object_of_no_known_kind():
    assert "is a object" in refused(object())


def test_a_reference_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reference("a", {}).wire = "b"  # type: ignore[misc]


def test_import_is_light():
    code = "import sys, airflow_kling.api.reference_images; print({'PIL', 'airflow', 'httpx'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h.example:8443/a/b.png?X-Amz-Signature=1#f", "https://h.example:8443/a/b.png"),
        ("https://[::1]:80/a?b", "https://[::1]:80/a"),
        ("file:///data/a.png", "file:///data/a.png"),
        ("s3://conn@bucket/key", "s3://bucket/key"),
        ("no url", "<not a URL>"),
        ("https://[broken/?secret", "<not a URL>"),
        ("data:image/png;base64,AAAA", "<not a URL>"),
    ],
)
def test_redact_url(url, shown):
    assert redact_url(url) == shown


def test_a_text_that_quotes_a_signed_url_loses_the_signature():
    text = (
        'Cannot fetch "https://b.s3.amazonaws.com/a.png?X-Amz-Signature=1&b=2" (https://h/x#s), why? See https://h/y.'
    )
    assert redact_urls_in(text) == (
        'Cannot fetch "https://b.s3.amazonaws.com/a.png" (https://h/x), why? See https://h/y.'
    )
