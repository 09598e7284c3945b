"""Chooses the store of a destination, and opens single objects by their URL."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.destination import Destination, named_connection

if TYPE_CHECKING:
    from airflow_kling.storage.base import Store

AWS_CONN_ID = "aws_default"  # as in Airflow's own operators


def open_store(
    destination: object,
    *,
    aws_conn_id: str | None = AWS_CONN_ID,
    extra_args: Mapping[str, Any] | None = None,
    s3_config: Mapping[str, Any] | None = None,
) -> Store:
    """Choose the store of a destination.

    :param destination: ``s3://bucket/prefix``, another URL of ObjectStoragePath (``file:///...``, ``gs://...``), that
        path itself, or a :class:`~airflow_kling.storage.destination.Destination`.
    :param aws_conn_id: for ``s3://`` only; ``s3://conn_id@bucket/prefix`` comes first.
    :param extra_args: for ``s3://`` only: arguments of the upload such as ``ServerSideEncryption``, ``SSEKMSKeyId``
        or ``StorageClass``.
    :param s3_config: for ``s3://`` only: settings of botocore, such as timeouts.
    :raises KlingInputError: the destination cannot be one.
    """
    place = destination if isinstance(destination, Destination) else Destination.parse(destination, extra_args)
    # The classes are imported here: each brings the libraries of its storage, and a task needs one of them.
    if place.scheme == "s3":
        from airflow_kling.storage.s3 import S3Store

        conn_id = place.connection(aws_conn_id)
        prefix = place.prefix.lstrip("/")
        return S3Store(place.bucket, prefix, aws_conn_id=conn_id, extra_args=extra_args, config=s3_config)
    if place.is_directory:
        from airflow_kling.storage.local import LocalStore

        return LocalStore(place.prefix)
    from airflow_kling.storage.fsspec import FsspecStore

    return FsspecStore(place.url)


def check_installed(place: Destination) -> None:
    """Refuse a destination whose storage this machine knows nothing of; no connection is looked up.

    :raises KlingInputError: names the scheme.
    """
    if place.is_directory:
        return
    if place.scheme == "s3":
        found = find_spec("airflow.providers.amazon") is not None
    else:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

        if AIRFLOW_V_3_1_PLUS:
            from airflow.sdk.io import has_fs
        else:
            from airflow.io import has_fs  # type: ignore[attr-defined, no-redef]

        found = has_fs(place.scheme)
    if not found:
        raise KlingInputError(
            f"destination is {place.url}, and no provider for {place.scheme}:// is installed on this worker; install "
            "it, or give another one."
        )


def open_object(url: str) -> BinaryIO:
    """Open an object for reading.

    :param url: of any storage that ObjectStoragePath knows. ``s3://`` is read through ``aws_default`` unless it names
        a connection, as the destination of an archive is; every other storage has a default of its own.
    """
    file: BinaryIO = object_path(url).open("rb")
    return file


def object_path(url: str) -> Any:
    """Return the path of an object, with the connection by which :func:`open_object` reads it."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    options = {"conn_id": AWS_CONN_ID} if url.startswith("s3://") and not named_connection(url) else {}
    return ObjectStoragePath(url, **options)
