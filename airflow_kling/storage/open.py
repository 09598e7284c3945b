"""Where images are kept. One small protocol; which class serves a destination is decided here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

from airflow_kling.api.redact import redact_url
from airflow_kling.exceptions import KlingInputError

#: A directory that every worker sees: no bucket, no connection.
FILE_SCHEMES: Final = ("file", "local")


@dataclass(frozen=True)
class Stored:
    """What the storage knows of an object: size in bytes, and SHA-256 in hex where it can tell without trust."""

    bytes: int
    sha256: str | None


class Store(Protocol):
    """Objects below a destination. A key is made by :mod:`airflow_kling.storage.keys` and by nothing else.

    An object appears under its key whole or not at all, also when the process is killed.
    """

    def uri(self, key: str) -> str:
        """Full address of ``key``; the object need not exist."""
        ...

    def keys(self, kling_task_id: str) -> set[str]:
        """Keys of all objects of a task."""
        ...

    def stat(self, key: str) -> Stored | None:
        """Size and hash of an object, None if there is none."""
        ...

    def read_into(self, key: str, target: BinaryIO) -> bool:
        """Append an object to ``target`` in constant memory; False if there is none."""
        ...

    def write_file(self, key: str, file: BinaryIO, *, content_type: str, sha256: str) -> str:
        """Store ``file`` from its start and replace what was there.

        :return: the uri.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        ...

    def sweep(self, kling_task_id: str) -> None:
        """Remove what killed runs left behind beside the objects of a task."""
        ...


def open_store(
    destination: object, *, aws_conn_id: str | None = "aws_default", extra_args: Mapping[str, Any] | None = None
) -> Store:
    """Choose the store of a destination.

    :param destination: ``s3://bucket/prefix``, or a URL of ObjectStoragePath (``file:///...``, ``gs://...``), or that
        path itself.
    :param aws_conn_id: for ``s3://`` only; ``s3://conn_id@bucket/prefix`` comes first.
    :param extra_args: for ``s3://`` only: arguments of the upload such as ``ServerSideEncryption``, ``SSEKMSKeyId``
        or ``StorageClass``.
    :raises KlingInputError: the destination cannot be one.
    """
    scheme, rest = check_destination(destination, extra_args)
    if scheme == "s3":
        from airflow_kling.storage.s3 import S3Store

        bucket_part, _, prefix = rest.partition("/")
        conn_id, _, bucket = bucket_part.rpartition("@")
        return S3Store(bucket, prefix.strip("/"), aws_conn_id=conn_id or aws_conn_id, extra_args=extra_args)
    if scheme in FILE_SCHEMES:
        from airflow_kling.storage.local import LocalStore

        return LocalStore(rest)
    from airflow_kling.storage.fsspec import FsspecStore

    return FsspecStore(f"{scheme}://{rest}")


def check_destination(destination: object, extra_args: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """Split into scheme and the rest, and refuse what would let a path escape or vanish; no I/O, no connection.

    :raises KlingInputError: the destination cannot be one, or takes no ``extra_args``.
    """
    url = str(destination)
    shown = redact_url(url) if "://" in url else destination
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([^\x00-\x1f\x7f]+)", url)
    if not match:
        raise KlingInputError(
            f"destination is {shown!r}, it must be a URL such as s3://bucket/prefix or file:///directory; nothing was "
            "archived."
        )
    scheme, rest = match[1], match[2]
    if any(part in (".", "..") for part in rest.split("/")):
        raise KlingInputError(f"{redact_url(url)} has '.' or '..' in its path; write the path out.")
    if scheme in FILE_SCHEMES and not rest.startswith("/"):
        raise KlingInputError(f"{redact_url(url)} is not an absolute path; write file:///directory.")
    authority = rest.partition("/")[0]
    if scheme not in FILE_SCHEMES and (not authority.rpartition("@")[2] or ":" in authority.rpartition("@")[0]):
        raise KlingInputError(f"{redact_url(url)} has no bucket, or a password in it; name a bucket only.")
    if scheme not in ("s3", *FILE_SCHEMES) and re.search(r"[?#]", rest):
        raise KlingInputError(
            f"{redact_url(url)} has '?' or '#' in its path, where addresses of this storage end; name another folder."
        )
    if extra_args and scheme != "s3":
        raise KlingInputError(f"extra_args go with s3:// only, not with {redact_url(url)}.")
    return scheme, rest
