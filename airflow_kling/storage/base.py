"""Defines what a store of objects can do; one class for each kind of storage does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Stored:
    """What the storage knows of an object.

    :param bytes: its size.
    :param sha256: in hex; None where the storage does not know it.
    """

    bytes: int
    sha256: str | None


class Store(Protocol):
    """Objects below a destination. Their keys are made by :mod:`airflow_kling.storage.keys` alone.

    An object appears under its key whole or not at all, also when the process is killed.
    """

    def uri(self, key: str) -> str:
        """Return the full address of ``key``; the object need not exist."""
        ...

    def keys(self, kling_task_id: str) -> set[str]:
        """Return the keys of all objects of a task."""
        ...

    def stat(self, key: str) -> Stored | None:
        """Return size and hash of an object, None if there is none."""
        ...

    def download(self, key: str, target: BinaryIO) -> bool:
        """Append an object to ``target`` in constant memory; return False if there is none."""
        ...

    def put(self, key: str, file: BinaryIO, *, content_type: str, sha256: str) -> str:
        """Store ``file`` from its start, and replace what was there.

        :return: the uri.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove an object if there is one."""
        ...

    def remove_leftovers(self, kling_task_id: str) -> None:
        """Remove the temporary objects that killed runs have left beside the objects of a task."""
        ...

    def console_url(self, kling_task_id: str) -> str | None:
        """Return the address of a task's folder in the AWS console, None where there is none."""
        ...
