"""Stores objects in whatever else ObjectStoragePath knows.

It never calls ``path.open("wb")``: fsspec publishes half an object when an exception leaves its ``with`` block.
"""

from __future__ import annotations

import contextlib
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO

from airflow_kling.api.redact import redact_url
from airflow_kling.storage.base import Stored
from airflow_kling.storage.keys import check_task_id

# put_file of s3fs, gcsfs and adlfs publishes at its last step. Elsewhere a file is uploaded beside, and then moved.
_ATOMIC_UPLOAD = frozenset({"s3a", "gs", "gcs", "abfs", "abfss", "az", "wasb", "wasbs"})


class FsspecStore:
    """Store below an ObjectStoragePath.

    :param destination: e.g. ``gs://google_cloud_default@bucket/prefix``.
    """

    def __init__(self, destination: str) -> None:
        self._destination = destination.rstrip("/")

    @cached_property
    def _root(self) -> Any:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        return ObjectStoragePath(self._destination)

    @property
    def _fs(self) -> Any:
        return self._root.fs

    def uri(self, key: str) -> str:
        """Return the full address of ``key``."""
        return f"{redact_url(self._destination)}/{key}"

    def keys(self, kling_task_id: str) -> set[str]:
        """Return the keys of all objects of a task, without temporary ones."""
        self._fs.invalidate_cache()
        try:
            paths = self._fs.ls(self._path(check_task_id(kling_task_id)), detail=False)
        except FileNotFoundError:
            return set()
        names = (posixpath.basename(path) for path in paths)
        return {f"{kling_task_id}/{name}" for name in names if name and not name.startswith(".")}

    def stat(self, key: str) -> Stored | None:
        """Return the size of an object, None if there is none; the hash is not known."""
        self._fs.invalidate_cache()
        try:
            return Stored(self._fs.info(self._path(key))["size"], None)
        except FileNotFoundError:
            return None

    def download(self, key: str, target: BinaryIO) -> bool:
        """Append an object to ``target`` piece by piece; return False if there is none."""
        try:
            with self._fs.open(self._path(key), "rb") as file:
                shutil.copyfileobj(file, target)
        except FileNotFoundError:
            return False
        return True

    def put(self, key: str, file: BinaryIO, *, content_type: str, sha256: str) -> str:
        """Upload a finished local file."""
        path = self._path(key)
        with _on_disk(file, suffix=posixpath.splitext(key)[1]) as local:
            if self._root.protocol in _ATOMIC_UPLOAD:
                self._fs.put_file(local, path)
            else:
                self._upload_and_move(local, path)
        return self.uri(key)

    def remove(self, key: str) -> None:
        """Remove an object if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def remove_leftovers(self, kling_task_id: str) -> None:
        """Remove nothing: nobody knows here whether the writer of a hidden ``.part`` file still lives."""
        check_task_id(kling_task_id)

    def console_url(self, kling_task_id: str) -> None:
        """Return None: there is no AWS console for it."""

    def _path(self, key: str) -> str:
        return str((self._root / key).path)

    def _upload_and_move(self, local: str, path: str) -> None:
        directory, name = posixpath.split(path)
        temporary = posixpath.join(directory, f".{name}.{uuid.uuid4().hex}.part")
        self._fs.makedirs(directory, exist_ok=True)
        try:
            self._fs.put_file(local, temporary)
            if self._fs.exists(path):
                self._fs.rm_file(path)  # not every storage replaces when it moves
            self._fs.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(temporary)
            raise


@contextmanager
def _on_disk(file: BinaryIO, *, suffix: str) -> Iterator[str]:
    """Yield the path of a finished local copy: storages make an upload by path atomic, and no other.

    :param suffix: gcsfs and s3fs take the content type of the object from it.
    """
    file.seek(0)
    with tempfile.NamedTemporaryFile(prefix="kling-", suffix=suffix) as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name
