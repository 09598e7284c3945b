"""Which objects the gallery reads. Pure.

What an XCom says was written by a DAG's author, who must not get the API server to read what only the server can. So
an image is read from where the archive task would have put it, and shown only when its bytes have the SHA-256 that the
XCom names: who knows that has had the image already. The same holds for references. A URL is never asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow_kling.api.route import IMAGE
from airflow_kling.archive.download import DownloadLimits
from airflow_kling.exceptions import KlingInputError
from airflow_kling.media.kinds import FILE_TYPES
from airflow_kling.storage.keys import image_key, manifest_key

#: Storage that an archive can be in and that is reached through one of Airflow's connections, and the server's disk.
SCHEMES = frozenset({"file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "wasb", "wasbs"})
EXTENSIONS = {file_type.content_type: file_type.extension for file_type in FILE_TYPES}

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONNECTION = re.compile(r"[\w.-]{1,250}", re.ASCII)


class NotShown(Exception):
    """Why the gallery does not read an object; the text is for people."""


@dataclass(frozen=True)
class Archived:
    """An object of an archive.

    :param destination: where the archive is, as the archive task's parameter
    :param key: below it
    :param conn_id: reaches it
    """

    destination: str
    key: str
    conn_id: str | None

    @property
    def is_local(self) -> bool:
        """Whether it is on the server's own disk."""
        return self.destination.startswith("file://")

    @property
    def uri(self) -> str:
        """Its full address."""
        return f"{self.destination}/{self.key}"


@dataclass(frozen=True)
class Located:
    """An object by its address alone."""

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether it is on the server's own disk."""
        return self.uri.startswith("file://")

    @property
    def path(self) -> str:
        """Where on the disk."""
        return url2pathname(urlsplit(self.uri).path)


@dataclass(frozen=True)
class Picture:
    """An image to be read, and what it must be.

    :param sha256: of its bytes, in hex
    :param bytes: its size
    """

    place: Archived | Located
    sha256: str
    bytes: int

    @property
    def version(self) -> str:
        """Names these bytes in an address."""
        return self.sha256[:12]


def manifest_place(value: Mapping[str, Any], kling_task_id: str) -> Archived:
    """Where the manifest of a generation is.

    :raises NotShown: the XCom names no place that an archive of this generation can be in.
    """
    try:
        key = manifest_key(kling_task_id)
    except KlingInputError:
        raise NotShown("This is not the id of a Kling task.") from None
    uri, conn_id = value.get("manifest"), value.get("conn_id")
    if not isinstance(uri, str) or not uri.endswith(f"/{key}") or any(ord(letter) < 32 for letter in uri):
        raise NotShown("Its manifest is not where a manifest of this task would be.")
    _check_scheme(uri)
    if conn_id is not None and not (isinstance(conn_id, str) and _CONNECTION.fullmatch(conn_id)):
        raise NotShown("Its connection has no valid id.")
    return Archived(uri.removesuffix(f"/{key}"), key, conn_id)


def image_picture(value: Mapping[str, Any], kling_task_id: str, index: int) -> Picture:
    """The archived image of a generation with this index.

    :raises NotShown: there is none, or it is not beside its manifest.
    """
    place = manifest_place(value, kling_task_id)
    for image in _dicts(value.get("images")):
        if image.get("index") == index:
            return _beside(place, kling_task_id, index, image)
    raise NotShown("There is no such image.")


def reference_picture(value: Mapping[str, Any], position: int) -> Picture:
    """The reference image at this position.

    :param value: what was asked
    :raises NotShown: there is none, or it is no file in a storage.
    """
    references = _dicts(value.get("references"))
    if not 0 <= position < len(references):
        raise NotShown("There is no such reference image.")
    reference = references[position]
    uri = reference.get("uri")
    if not isinstance(uri, str) or reference.get("source") != "file":
        raise NotShown("It was not given as a file.")
    _check_scheme(uri)
    return _picture(Located(uri), reference, IMAGE.max_bytes)


def _beside(manifest: Archived, kling_task_id: str, index: int, image: Mapping[str, Any]) -> Picture:
    extension = EXTENSIONS.get(str(image.get("content_type")))
    if extension is None:
        raise NotShown("It is neither PNG nor JPEG nor WebP.")
    try:
        place = Archived(manifest.destination, image_key(kling_task_id, index, extension), manifest.conn_id)
    except KlingInputError:
        raise NotShown("There is no such image.") from None
    if image.get("uri") != place.uri:
        raise NotShown("It is not beside its manifest.")
    return _picture(place, image, DownloadLimits.max_bytes)


def _picture(place: Archived | Located, described: Mapping[str, Any], most: int) -> Picture:
    sha256, size = described.get("sha256"), described.get("bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise NotShown("Its SHA-256 is not known.")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= most:
        raise NotShown(f"Its size is not known, or over {most // 1024 // 1024} MiB.")
    return Picture(place, sha256, size)


def _check_scheme(uri: str) -> None:
    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise NotShown(f"The gallery does not read from {scheme[:20]!r} addresses.")


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
