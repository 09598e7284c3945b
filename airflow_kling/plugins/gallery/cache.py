"""Keeps thumbnails and videos on disk, for all processes of an API server.

A directory has a limit of size. A reader gets a whole file or none.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

_LEFTOVER_AFTER = 3600.0  # seconds; the process that wrote an older temporary file was killed


class DiskCache:
    """A directory of files by name; the least recently used ones are removed when it is full.

    :param directory: is made when it is missing, readable for its owner alone.
    :param max_bytes: limit of all files together. Each process checks it when it has written an eighth of it, so
        several processes may exceed it for a moment.
    :param suffix: of the files' names.
    :raises PermissionError: the directory belongs to somebody else.
    """

    def __init__(self, directory: Path, max_bytes: int, *, suffix: str) -> None:
        self._directory = directory
        self._suffix = suffix
        self._max_bytes = max_bytes
        self._written = max_bytes  # so that the first write checks what earlier processes left
        self._lock = threading.Lock()
        self._make_directory()

    def get(self, name: str) -> bytes | None:
        """Return a file's content, None if it does not exist."""
        file = self.open(name)
        if file is None:
            return None
        with file, contextlib.suppress(OSError):
            return file.read()
        return None

    def open(self, name: str) -> BinaryIO | None:
        """Open a file for reading, None if it does not exist; it can be read to its end whoever removes it."""
        path = self._path(name)
        try:
            self._check_directory()
            file = open(path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of last use; filesystems are often mounted without access times
        return file

    def put(self, name: str, content: bytes) -> None:
        """Keep a file; an error of the disk loses it and nothing else."""
        with contextlib.suppress(OSError), self.new_file(name) as file:
            file.write(content)
        with self._lock:
            self._written += len(content)
            due = self._written > self._max_bytes // 8
            if due:
                self._written = 0
        if due:
            with contextlib.suppress(OSError):
                self._make_room(self._max_bytes // 8)

    @contextlib.contextmanager
    def new_file(self, name: str, size: int = 0) -> Iterator[BinaryIO]:
        """Yield a file that is kept under this name if the block ends without an error.

        :param size: bytes to make room for before anything is written.
        :raises OSError: the disk is full, or the directory is not ours.
        """
        self._make_directory()
        if size:
            self._make_room(size)
        # A rename replaces the file at once, so no reader sees half of it.
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, suffix=".part")
        try:
            with open(descriptor, "w+b") as file:
                yield cast(BinaryIO, file)
            os.replace(temporary, self._path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _make_directory(self) -> None:
        # At each write: a cleaner of temporary files may have removed the directory since.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_directory()

    def _check_directory(self) -> None:
        # Another user could have made it, in order to have us show images of theirs.
        found = os.lstat(self._directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(f"{self._directory} is not a directory that this user alone may write to.")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{self._suffix}"

    def _make_room(self, wanted: int) -> None:
        """Remove the least recently used files until so many bytes are free, and what killed processes left."""
        total, files = 0, []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process makes room too
                    if not entry.is_file(follow_symlinks=False):
                        continue  # a cache of another kind lies in here
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_size
                    if entry.name.endswith(self._suffix):
                        files.append((status.st_mtime, status.st_size, entry.path))
                    elif time.time() - status.st_mtime > _LEFTOVER_AFTER:
                        files.append((0.0, status.st_size, entry.path))
        for age, size, path in sorted(files):
            if age and total <= self._max_bytes - wanted:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
