"""Objects by their URL, as a DAG author gives them: read by the submitting task, and shown by the gallery."""

from __future__ import annotations

from typing import BinaryIO


def open_object(url: str) -> BinaryIO:
    """Open an object for reading.

    :param url: of any storage that ObjectStoragePath knows. ``s3://`` is read through ``aws_default`` unless it names
        a connection, as the destination of an archive is; every other storage has a default of its own.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    bucket = url.removeprefix("s3://").partition("/")[0]
    options = {"conn_id": "aws_default"} if url.startswith("s3://") and "@" not in bucket else {}
    file: BinaryIO = ObjectStoragePath(url, **options).open("rb")  # type: ignore[no-untyped-call]
    return file
