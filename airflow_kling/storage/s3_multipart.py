"""Uploads a file to S3 in parts: what one PUT does not take. An upload that fails is aborted, and leaves nothing."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

#: Bytes of a part; more where the file would have more than :data:`MAX_PARTS` of them.
PART: Final = 64 * 1024 * 1024
MAX_PARTS: Final = 10_000
#: An upload that is older has been left by a killed run: the parts of a living one do not take a day.
LEFT_AFTER: Final = timedelta(days=1)
_CHECKSUM = "ChecksumSHA256"


def put_parts(
    client: Any, place: Mapping[str, str], file: BinaryIO, size: int, *, arguments: Mapping[str, Any], checksums: bool
) -> None:
    """Upload a file, one part after another, each straight from the file.

    :param place: ``Bucket``, ``Key`` and what every request carries.
    :param arguments: of the upload, as ``put_object`` takes them; each request gets those that it knows.
    :param checksums: let S3 compare every part with its SHA-256. It knows none of the whole file then: that of S3 is
        made of the parts'.
    """
    _abort_leftovers(client, place)
    arguments = {name: value for name, value in arguments.items() if not name.startswith("Checksum")}
    algorithm = {"ChecksumAlgorithm": "SHA256"} if checksums else {}
    wanted = {**arguments, **algorithm, **place}
    upload = {**place, "UploadId": _call(client, "CreateMultipartUpload", wanted)["UploadId"]}
    try:
        parts = [
            _put_part(client, file, start, min(part, size - start), number, {**arguments, **algorithm, **upload})
            for part in (max(PART, -(-size // MAX_PARTS)),)
            for number, start in enumerate(range(0, size, part), start=1)
        ]
        _call(client, "CompleteMultipartUpload", {**arguments, **upload, "MultipartUpload": {"Parts": parts}})
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell of
            _call(client, "AbortMultipartUpload", {**arguments, **upload})
        raise


def _put_part(
    client: Any, file: BinaryIO, start: int, size: int, number: int, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    body = Part(file, start, size)
    checksum = {}
    if "ChecksumAlgorithm" in arguments:
        digest = hashlib.file_digest(body, "sha256").digest()
        checksum = {_CHECKSUM: base64.b64encode(digest).decode()}
        body.seek(0)
    wanted = {**arguments, **checksum, "Body": body, "PartNumber": number, "ContentLength": size}
    return {"PartNumber": number, "ETag": _call(client, "UploadPart", wanted)["ETag"], **checksum}


def _abort_leftovers(client: Any, place: Mapping[str, str]) -> None:
    """Abort the uploads of the same object that killed runs have left, where the connection may see them."""
    with contextlib.suppress(Exception):  # a bucket's rule for incomplete uploads does the same
        wanted = {name: value for name, value in place.items() if name != "Key"} | {"Prefix": place["Key"]}
        for upload in _call(client, "ListMultipartUploads", wanted).get("Uploads", ()):
            if upload["Key"] == place["Key"] and upload["Initiated"] < datetime.now(UTC) - LEFT_AFTER:
                _call(client, "AbortMultipartUpload", {**place, "UploadId": upload["UploadId"]})
                log.info("Aborted an upload of %s that a killed run has left", place["Key"])


def _call(client: Any, operation: str, arguments: Mapping[str, Any]) -> Any:
    """Call an operation with those of the arguments that it knows."""
    known = client.meta.service_model.operation_model(operation).input_shape.members
    method = next(name for name, found in client.meta.method_to_api_mapping.items() if found == operation)
    return getattr(client, method)(**{name: value for name, value in arguments.items() if name in known})


class Part(io.RawIOBase):
    """A part of a file as a file, which is read from where it lies.

    :param start: its first byte in the file.
    :param size: its bytes.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._position = file, start, size, 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be sent again."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read as a regular file does."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._position)
        data = self._file.read(max(0, min(len(view), self._size - self._position)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
