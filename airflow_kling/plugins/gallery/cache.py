"""Renditions on disk, for all processes of a server: bounded, and each file whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
import time
from pathlib import Path

_SUFFIX = ".webp"
_FORGOTTEN_AFTER = 3600.0  # a temporary file older than this has lost its writer


class DiskCache:
    """A directory of files by name; when they are too many, those go that were not asked for the longest time.

    :param directory: made when missing, readable for its owner alone.
    :param max_bytes: what all files together may take; it is looked at each time an eighth of it was written, by
        each process for itself, so that several may take a little more for a moment.
    :raises PermissionError: the directory belongs to somebody else.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._written = max_bytes  # look at the first write
        self._counting = threading.Lock()
        self._make_directory()

    def get(self, name: str) -> bytes | None:
        """A file's content, None if it is not there."""
        path = self._path(name)
        try:
            self._check_directory()
            content = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Keep a file; a full disk loses it and nothing else."""
        with contextlib.suppress(OSError):
            self._write(self._path(name), content)
        with self._counting:
            self._written += len(content)
            due = self._written > self._max_bytes // 8
            if due:
                self._written = 0
        if due:
            with contextlib.suppress(OSError):
                self._make_room()

    def _make_directory(self) -> None:
        """At each write: what cleans a temporary directory may have removed it, and somebody else made another."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_directory()

    def _check_directory(self) -> None:
        found = os.lstat(self._directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(f"{self._directory} is not a directory of this user alone")

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _write(self, path: Path, content: bytes) -> None:
        self._make_directory()
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
        """Remove the oldest until an eighth is free, and what killed writers left."""
        files: list[tuple[float, int, str]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX) or time.time() - status.st_mtime > _FORGOTTEN_AFTER:
                        age = status.st_mtime if entry.name.endswith(_SUFFIX) else 0.0
                        files.append((age, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for age, size, path in sorted(files):
            if age and total <= self._max_bytes * 7 // 8:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
