"""Decides which objects the gallery reads. Pure.

The author of a DAG can write any XCom, and must not get the API server to read what only the server may. So

- an archived image is read only from where the archive task would have put it;
- an image is shown only if its bytes have the SHA-256 that the XCom names: who knows that has had the image already;
- the same holds for a reference image that was given as a file; one that was given as a URL is never fetched;
- files of the API server are read only below the folders that its configuration names;
- whatever keeps an object from being shown because of where it is, the answer is the same: another one would tell what
  the server has.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow_kling.api.route import IMAGE
from airflow_kling.archive.limits import DownloadLimits
from airflow_kling.exceptions import KlingInputError
from airflow_kling.media.kinds import FILE_TYPES
from airflow_kling.reporting import gallery_urls
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.keys import image_key, manifest_key

#: Storage that an archive can be in: the server's disk, and what an Airflow connection reaches.
SCHEMES = frozenset({"file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "wasb", "wasbs"})
_EXTENSIONS = {file_type.content_type: file_type.extension for file_type in FILE_TYPES}

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONNECTION = re.compile(r"[\w.-]{1,250}", re.ASCII)


class NotShown(Exception):
    """The gallery does not show an object; the message tells the user why, and names no address."""


#: The one answer for every reason that lies in the place of an object.
NOT_READABLE = (
    "The gallery cannot read it where this record says, or what is there is not what was archived. Files of the API "
    "server are shown only below the folders of [kling] gallery_file_roots."
)


class Unreadable(NotShown):
    """An object is not where the gallery may read it, not there, or not what it should be.

    :param reason: for the log of the API server, without addresses; the user is told :data:`NOT_READABLE`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(NOT_READABLE)
        self.reason = reason


@dataclass(frozen=True)
class ArchiveLocation:
    """Where an object of an archive is.

    :param destination: of the archive, as the archive task's parameter
    :param key: of the object, below the destination
    :param conn_id: of the Airflow connection that reaches it; None for the default one
    """

    destination: str
    key: str
    conn_id: str | None

    @property
    def is_local(self) -> bool:
        """Whether the object is on the API server's disk."""
        return self.destination.startswith("file://")

    @property
    def path(self) -> str:
        """Path of the object on the disk."""
        return f"{Destination.parse(self.destination).prefix.rstrip('/')}/{self.key}"

    @property
    def storage(self) -> str:
        """Name of the storage that the object is in: they fail one by one."""
        return f"{_storage(self.destination)} {self.conn_id}"

    @property
    def uri(self) -> str:
        """Address of the object."""
        return f"{self.destination}/{self.key}"


@dataclass(frozen=True)
class UriLocation:
    """Where an object is that has an address alone."""

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether the object is on the API server's disk."""
        return self.uri.startswith("file://")

    @property
    def path(self) -> str:
        """Path of the object on the disk."""
        return url2pathname(urlsplit(self.uri).path)

    @property
    def storage(self) -> str:
        """Name of the storage that the object is in."""
        return _storage(self.uri)


_Location = TypeVar("_Location", ArchiveLocation, UriLocation)


@dataclass(frozen=True)
class ExpectedImage:
    """Where to read an image, and which bytes it must have.

    :param sha256: of its bytes, in hex
    :param bytes: its size
    """

    location: ArchiveLocation | UriLocation
    sha256: str
    bytes: int

    @property
    def version(self) -> str:
        """Names these bytes in an address."""
        return gallery_urls.image_version(self.sha256)


def read_roots(setting: str) -> tuple[str, ...]:
    """Return the folders of ``[kling] gallery_file_roots``: absolute paths or ``file://`` addresses, between commas."""
    paths = (one.strip().removeprefix("file://") for one in setting.split(","))
    return tuple(posixpath.normpath(path) for path in paths if path.startswith("/"))


def is_below(path: str, roots: Sequence[str]) -> bool:
    """Tell whether an absolute path without links and dots is below one of the folders."""
    return any(root == "/" or path.startswith(f"{root}/") for root in roots)


def manifest_location(value: Mapping[str, Any], kling_task_id: str, roots: Sequence[str]) -> ArchiveLocation:
    """Return where the manifest of a generation is.

    :param value: the XCom of the archive task.
    :param roots: folders of the API server that may be read.
    :raises NotShown: an archive of this generation cannot be where the XCom says.
    """
    try:
        key = manifest_key(kling_task_id)
    except KlingInputError:
        raise NotShown("This is not an id of a Kling task.") from None
    uri, conn_id = value.get("manifest"), value.get("conn_id")
    if not isinstance(uri, str) or not uri.endswith(f"/{key}") or any(ord(letter) < 32 for letter in uri):
        raise Unreadable("The archive task would not have put the manifest where this record says.")
    if conn_id is not None and not (isinstance(conn_id, str) and _CONNECTION.fullmatch(conn_id)):
        raise Unreadable("This record names no valid connection id.")
    return _readable(ArchiveLocation(uri.removesuffix(f"/{key}"), key, conn_id), roots)


def archived_image(value: Mapping[str, Any], kling_task_id: str, index: int, roots: Sequence[str]) -> ExpectedImage:
    """Return the archived image of a generation with this index.

    :param value: the XCom of the archive task.
    :param roots: folders of the API server that may be read.
    :raises NotShown: there is none, or it is not beside its manifest.
    """
    manifest = manifest_location(value, kling_task_id, roots)
    for image in _dicts(value.get("images")):
        if image.get("index") == index:
            return _beside(manifest, kling_task_id, index, image)
    raise NotShown("This generation has no such image.")


def reference_image(request: Mapping[str, Any], index: int, roots: Sequence[str]) -> ExpectedImage:
    """Return the reference image with this index.

    :param request: the request record
    :param roots: folders of the API server that may be read.
    :raises NotShown: there is none, or it is no file in a storage.
    """
    given = references(request)
    if not 0 <= index < len(given):
        raise NotShown("This generation has no such reference image.")
    reference = given[index]
    uri = reference.get("uri")
    if not isinstance(uri, str) or reference.get("source") != "file":
        raise NotShown("This reference image was not given as a file.")
    return _expected(_readable(UriLocation(uri), roots), reference, IMAGE.max_bytes)


def references(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a request record says of each reference image."""
    return _dicts(request.get("references"))


def _beside(manifest: ArchiveLocation, kling_task_id: str, index: int, image: Mapping[str, Any]) -> ExpectedImage:
    extension = _EXTENSIONS.get(str(image.get("content_type")))
    if extension is None:
        raise Unreadable("The image is neither PNG nor JPEG nor WebP.")
    try:
        location = ArchiveLocation(manifest.destination, image_key(kling_task_id, index, extension), manifest.conn_id)
    except KlingInputError:
        raise NotShown("This generation has no such image.") from None
    if image.get("uri") != location.uri:
        raise Unreadable("The image is not beside its manifest.")
    return _expected(location, image, DownloadLimits.max_bytes)


def _expected(location: ArchiveLocation | UriLocation, described: Mapping[str, Any], max_bytes: int) -> ExpectedImage:
    sha256, size = described.get("sha256"), described.get("bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise NotShown("The SHA-256 of the image is not known.")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= max_bytes:
        raise NotShown(f"The size of the image is not known, or over {max_bytes // 1024 // 1024} MiB.")
    return ExpectedImage(location, sha256, size)


def _readable(location: _Location, roots: Sequence[str]) -> _Location:
    """Return a location of a storage that the gallery reads from; the folders are compared again without links."""
    scheme = location.uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise Unreadable(f"The gallery does not read from {scheme[:20]!r} addresses.")
    try:
        if not location.is_local or is_below(posixpath.normpath(location.path), roots):
            return location
    except (KlingInputError, ValueError) as error:
        raise Unreadable(f"This is no address of a file ({type(error).__name__}).") from None
    raise Unreadable("The file is not below a folder of [kling] gallery_file_roots.")


def _storage(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return scheme if scheme == "file" else f"{scheme}://{rest.partition('/')[0]}"


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
