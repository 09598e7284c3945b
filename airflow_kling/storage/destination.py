"""Reads the address of a destination: ``scheme://conn_id@bucket/prefix``, or ``file:///directory``.

The bucket of ``s3://`` may be the ARN of an access point: ``s3://arn:aws:s3:region:account:accesspoint/name/prefix``.
The address of a directory is a URI, as ``Path.as_uri()`` writes it: ``%20`` is a space.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from airflow_kling.api.redact import redact_url
from airflow_kling.exceptions import KlingInputError

# A directory that every worker sees: it has no bucket and no connection.
_DIRECTORIES = ("file", "local")
_AS_THEY_ARE = string.punctuation.replace("%", "")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: The ARN of an access point, also of an Outpost's, as boto3 takes it for a bucket. Its last part is the point's name.
_ACCESS_POINT = re.compile(
    r"arn:[\w-]+:s3[\w-]*:[\w-]*:\d{12}:(?:outpost[/:][\w-]+[/:])?accesspoint[/:][\w.-]+(?=/|$)", re.ASCII
)
#: Arguments of an upload that other requests for the same object take too; see the requests in boto3's reference.
READ_ARGS = frozenset({"SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5"})
ACCESS_ARGS = frozenset({"RequestPayer", "ExpectedBucketOwner"})
#: Classes of S3 whose objects cannot be read before somebody restores them: an archive reads its own manifest.
_UNREADABLE = ("GLACIER", "DEEP_ARCHIVE")
#: Set by the archive itself, for every object anew.
_OURS = frozenset({"Bucket", "Key", "Body", "ContentType", "ContentLength", "ContentMD5", "IfMatch", "IfNoneMatch"})


@dataclass(frozen=True)
class Destination:
    """Where an archive is.

    :param scheme: such as ``s3``.
    :param conn_id: the Airflow connection that the address names; None for the default one.
    :param bucket: blank for a directory.
    :param prefix: the path in the bucket, without a slash at its end; the absolute path of a directory.
    """

    scheme: str
    conn_id: str | None
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, address: object, extra_args: Mapping[str, Any] | None = None) -> Destination:
        """Read an address, and refuse one whose paths could escape or vanish; no I/O, no connection.

        :param address: a URL, or an ObjectStoragePath.
        :param extra_args: arguments of the upload, which only ``s3://`` takes.
        :raises KlingInputError: it cannot be a destination, or takes no ``extra_args``.
        """
        url = str(address)
        shown = redact_url(url) if "://" in url else address
        match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([^\x00-\x1f\x7f]+)", url)
        if not match:
            raise KlingInputError(
                f"destination is {shown!r}, it must be a URL such as s3://bucket/prefix or file:///directory; nothing "
                "was archived."
            )
        scheme, path = match[1], match[2]
        if scheme in _DIRECTORIES:
            path = unquote(path)
        if any(part in (".", "..") for part in path.split("/")):
            raise KlingInputError(f"{shown} has '.' or '..' in its path; write the path out.")
        if extra_args:
            _check_extra_args(extra_args, scheme, shown)
        if scheme in _DIRECTORIES:
            if not path.startswith("/") or _CONTROL.search(path):
                raise KlingInputError(f"{shown} is not an absolute path; write file:///directory.")
            return cls(scheme, None, "", path.rstrip("/") or "/")
        conn_id, bucket, prefix = _split(scheme, path)
        if not bucket or ":" in (conn_id or ""):
            raise KlingInputError(f"{shown} has no bucket, or a password in it; name a bucket only.")
        if scheme != "s3" and re.search(r"[?#]", path):
            raise KlingInputError(
                f"{shown} has '?' or '#' in its path, where addresses of this storage end; name another folder."
            )
        return cls(scheme, conn_id, bucket, prefix.rstrip("/"))

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory of the worker."""
        return self.scheme in _DIRECTORIES

    @property
    def url(self) -> str:
        """The address with its connection."""
        if self.is_directory:
            return f"{self.scheme}://{quote_path(self.prefix)}"
        named = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.scheme}://{named}{self.bucket}/{self.prefix}".rstrip("/")

    def connection(self, aws_conn_id: str | None) -> str | None:
        """Return the Airflow connection that reaches it; None for a default of Airflow, and for a directory.

        :param aws_conn_id: reaches ``s3://`` where the address names no connection.
        """
        return self.conn_id or (aws_conn_id if self.scheme == "s3" else None)

    def through(self, conn_id: str | None) -> Destination:
        """Return it as reached through a connection; ``s3://`` has its own parameter, a directory needs none."""
        return replace(self, conn_id=conn_id) if conn_id and self.scheme != "s3" and not self.is_directory else self


def named_connection(url: str) -> str | None:
    """Return the Airflow connection that the address of an object names: ``scheme://conn_id@bucket/...``."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[0] or None


def quote_path(path: str) -> str:
    """Return the path of a directory or file as its URI has it: spaces, ``%`` and what is not ASCII are encoded."""
    return quote(os.fsencode(path), safe=_AS_THEY_ARE)


def _split(scheme: str, path: str) -> tuple[str | None, str, str]:
    """Return connection, bucket and prefix."""
    conn_id, at, rest = path.partition("/")[0].rpartition("@")
    rest = path.removeprefix(conn_id + at)
    arn = _ACCESS_POINT.match(rest) if scheme == "s3" else None
    bucket = arn[0] if arn else rest.partition("/")[0]
    if ":" in bucket and not arn and scheme == "s3":
        bucket = ""
    return conn_id or None, bucket, rest[len(bucket) :].removeprefix("/")


def _check_extra_args(extra_args: Mapping[str, Any], scheme: str, shown: object) -> None:
    if scheme != "s3":
        raise KlingInputError(f"extra_args go with s3:// only, not with {shown}.")
    if odd := sorted(_OURS & extra_args.keys()):
        raise KlingInputError(f"s3_extra_args has {odd[0]}, which every upload has of its own; leave it out.")
    if (kind := extra_args.get("StorageClass")) in _UNREADABLE:
        raise KlingInputError(
            f"s3_extra_args has StorageClass {kind}, whose objects cannot be read before they are restored, and an "
            "archive is read again; give another class such as GLACIER_IR, and let a lifecycle rule move what is old."
        )
    if "SSECustomerKey" in extra_args and "SSECustomerAlgorithm" not in extra_args:
        raise KlingInputError("s3_extra_args has SSECustomerKey without SSECustomerAlgorithm; give both, or neither.")
