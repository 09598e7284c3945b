"""Keeps thumbnails on disk, for all processes of an API server.

The directory has a limit of size. A reader gets a whole file or none.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
import time
from pathlib import Path

_SUFFIX = ".webp"
_LEFTOVER_AFTER = 3600.0  # seconds; the process that wrote an older temporary file was killed


class DiskCache:
    """A directory of files by name; the least recently used ones are removed when it is full.

    :param directory: is made when it is missing, readable for its owner alone.
    :param max_bytes: limit of all files together. Each process checks it when it has written an eighth of it, so
        several processes may exceed it for a moment.
    :raises PermissionError: the directory belongs to somebody else.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._written = max_bytes  # so that the first write checks what earlier processes left
        self._lock = threading.Lock()
        self._make_directory()

    def get(self, name: str) -> bytes | None:
        """Return a file's content, None if it does not exist."""
        path = self._path(name)
        try:
            self._check_directory()
            content = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of last use; filesystems are often mounted without access times
        return content

    def put(self, name: str, content: bytes) -> None:
        """Keep a file; an error of the disk loses it and nothing else."""
        with contextlib.suppress(OSError):
            self._write(self._path(name), content)
        with self._lock:
            self._written += len(content)
            due = self._written > self._max_bytes // 8
            if due:
                self._written = 0
        if due:
            with contextlib.suppress(OSError):
                self._make_room()

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
        return self._directory / f"{name}{_SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        self._make_directory()
        # A rename replaces the file at once, so no reader sees half of it.
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, suffix=".part")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _make_room(self) -> None:
        """Remove the least recently used files until an eighth is free, and what killed processes left."""
        files: list[tuple[float, int, str]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process makes room too
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX) or time.time() - status.st_mtime > _LEFTOVER_AFTER:
                        age = status.st_mtime if entry.name.endswith(_SUFFIX) else 0.0
                        files.append((age, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for age, size, path in sorted(files):
            if age and total <= self._max_bytes * 7 // 8:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
