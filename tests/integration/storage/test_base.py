"""What every store does: an object appears whole or not at all."""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest

from tests.integration.stores import Place


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
        place.store.put("task-1/0.png", Breaks(bytes(size * 1024 * 1024)), content_type="image/png", sha256="")
    assert place.listing() == {}
    if "s3" in request.node.name:
        client = request.getfixturevalue("s3")
        assert not client.list_multipart_uploads(Bucket="images").get("Uploads")


def test_a_write_leaves_the_file_open_and_replaces(place):
    for data in (b"first", b"second one"):
        file = BytesIO(data)
        place.store.put("task-1/0.png", file, content_type="image/png", sha256=hashlib.sha256(data).hexdigest())
        assert not file.closed
        assert place.listing() == {"task-1/0.png": data}
        stored = place.store.stat("task-1/0.png")
        assert stored is not None
        assert stored.bytes == len(data)
        assert stored.sha256 in (None, hashlib.sha256(data).hexdigest())
    assert place.store.stat("task-1/1.png") is None
    assert place.store.download("task-1/1.png", BytesIO()) is False


def test_keys_are_those_of_one_task(place: Place) -> None:
    for key in ("task-1/0.png", "task-1/manifest.json", "task-10/0.png"):
        place.put(key, b"x")
    assert place.store.keys("task-1") == {"task-1/0.png", "task-1/manifest.json"}
    assert place.store.keys("task-2") == set()


def test_what_is_removed_is_gone_and_may_be_removed_again(place: Place) -> None:
    place.put("task-1/0.png", b"x")
    for _ in range(2):
        place.store.remove("task-1/0.png")
        assert place.listing() == {}
    assert place.store.stat("task-1/0.png") is None


def test_an_object_is_downloaded_behind_what_the_file_has(place: Place) -> None:
    place.put("task-1/0.png", b"object")
    file = BytesIO()
    file.write(b"an ")
    assert place.store.download("task-1/0.png", file) is True
    assert file.getvalue() == b"an object"
