"""Stores objects in a directory that every worker sees: written beside, then renamed, which is atomic."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from airflow_kling.storage.base import Stored
from airflow_kling.storage.destination import quote_path
from airflow_kling.storage.keys import check_task_id

# What file systems answer that know no fsync, or no locks: network shares, FUSE, mounted buckets.
_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY})


class LocalStore:
    """Store below a directory, which is made when missing.

    :param root: absolute path.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def uri(self, key: str) -> str:
        """Return the full address of ``key``."""
        return f"file://{quote_path(str(self._root / key))}"

    def keys(self, kling_task_id: str) -> set[str]:
        """Return the keys of all files of a task, without temporary ones."""
        directory = self._root / check_task_id(kling_task_id)
        return {f"{kling_task_id}/{path.name}" for path in directory.glob("[!.]*")}

    def stat(self, key: str) -> Stored | None:
        """Return size and hash of a file, None if there is none; the hash is that of the bytes that are there now."""
        try:
            with open(self._root / key, "rb") as file:
                return Stored(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())
        except FileNotFoundError:
            return None

    def download(self, key: str, target: BinaryIO) -> bool:
        """Append an object to ``target`` piece by piece; return False if there is none."""
        try:
            with open(self._root / key, "rb") as file:
                shutil.copyfileobj(file, target)
        except FileNotFoundError:
            return False
        return True

    def put(self, key: str, file: BinaryIO, *, content_type: str, sha256: str) -> str:
        """Write beside, flush to the disk, and rename."""
        file.seek(0)
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as (temporary, target):
            shutil.copyfileobj(file, target)
            target.flush()
            _sync(target.fileno())
            os.replace(temporary, path)
        _sync_directory(path.parent)
        return self.uri(key)

    def remove(self, key: str) -> None:
        """Remove an object if there is one."""
        (self._root / key).unlink(missing_ok=True)

    def console_url(self, kling_task_id: str) -> None:
        """Return None: there is no AWS console for it."""

    def remove_leftovers(self, kling_task_id: str) -> None:
        """Remove temporary files whose writer is gone: a living writer holds a lock on its file."""
        for leftover in (self._root / check_task_id(kling_task_id)).rglob(".*.part"):
            with contextlib.suppress(OSError), open(leftover, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new hidden file beside ``path``, locked; remove it afterwards unless it was renamed."""
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        with open(temporary, "xb") as file:
            with contextlib.suppress(OSError):  # without locks no leftover is removed, so that nothing is lost
                fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():
                continue  # another run removed it between its creation and the lock
            try:
                yield temporary, file
            finally:
                temporary.unlink(missing_ok=True)
            return


def _sync(descriptor: int) -> None:
    """Flush a file to the disk, where the file system can.

    :raises OSError: the disk is full or broken.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
