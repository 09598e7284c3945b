"""Keeps submission records in object storage: one small object a submission, on every line of Airflow.

The object is ``<record_store>/submissions/<namespace>/<task instance>/<start of the run>.json``. The task instance is a
hash of deployment, DAG id, run id, task id, map index and ``run_after``; the object names them for people. A clear of a
finished run moves the run's start, and so does a run that is made again under its id: neither overwrites what is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.open import open_store
from airflow_kling.submission.identity import Identity
from airflow_kling.submission.record import RecordStore, TaskState

if TYPE_CHECKING:
    from airflow_kling.storage.base import Store

# Elsewhere an object may be missing for a moment while it is replaced: then a spare one beside it is not.
_REPLACE_AT_ONCE = ("s3", "file", "local")
_SPARE = ".next.json"


class ObjectRecord:
    """One task instance's record as an object.

    :param record_store: URL of the storage, as that of an archive's destination.
    :param open_folder: opens it.
    """

    def __init__(self, record_store: str, identity: Identity, open_folder: Callable[[str], Store] = open_store) -> None:
        namespace = re.sub(r"[^A-Za-z0-9._-]+", "_", identity.deployment).strip("._")[:80] or "default"
        try:
            self._store: Store = open_folder(f"{record_store.rstrip('/')}/submissions/{namespace}")
        except KlingInputError as error:
            raise KlingInputError(f"record_store in the connection's extra cannot be one: {error}") from None
        self._folder = identity.key
        start = re.sub(r"[^0-9T]", "", (identity.run.started or "unknown").partition("+")[0])
        self._key = f"{self._folder}/{start or 'unknown'}.json"
        self._at_once = record_store.partition("://")[0] in _REPLACE_AT_ONCE
        self._names = {
            "deployment": identity.deployment,
            "dag_id": identity.dag_id,
            "run_id": identity.run_id,
            "task_id": identity.task_id,
            "map_index": identity.map_index,
        }
        self.name = f"object {self._store.uri(self._key)}"

    def read(self) -> Any:
        """Return what this run wrote last, None for nothing; what is no JSON as its text."""
        return self._read(self._key)

    def others(self) -> list[Any]:
        """Return what was written under the name of this task instance before the run's start moved."""
        names = {key.replace(_SPARE, ".json") for key in self._store.keys(self._folder)} - {self._key}
        return [value for key in sorted(names) if (value := self._read(key)) is not None]

    def write(self, value: dict[str, Any]) -> None:
        """Replace the object, and read it back.

        :raises OSError: the storage does not give back what was written.
        """
        content = json.dumps({**self._names, **value}, indent=1).encode()
        if self._at_once:
            self._put(self._key, content)
            return
        spare = self._key.replace(".json", _SPARE)
        self._put(spare, content)
        self._put(self._key, content)
        with contextlib.suppress(Exception):
            self._store.remove(spare)

    def _put(self, key: str, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        self._store.put(key, io.BytesIO(content), content_type="application/json", sha256=sha256)
        if self._content(key) != content:
            raise OSError("the storage does not give back what was written to it")

    def _read(self, key: str) -> Any:
        content = self._content(key)
        if content is None and not self._at_once:
            content = self._content(key.replace(".json", _SPARE))
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError:
            return content.decode(errors="replace")

    def _content(self, key: str) -> bytes | None:
        if not self._at_once:
            self._store.stat(key)  # forgets what the storage's library has kept of the folder
        target = io.BytesIO()
        return target.getvalue() if self._store.download(key, target) else None


def open_records(
    record_store: str,
    task_state_store: Any,
    identity: Identity | None,
    *,
    archive: tuple[str, Callable[[str], Store]] | None = None,
) -> RecordStore:
    """Choose where a task instance's record is kept.

    :param record_store: of the connection; it comes first where it is given.
    :param task_state_store: ``context["task_state_store"]``, None before Airflow 3.3.
    :param identity: None outside of Airflow, where nothing is kept.
    :param archive: the destination of a task that archives as well, and what opens a folder of it. The record lies
        there where there is no other place, so that a retry finds what it has to archive.
    :raises KlingInputError: ``record_store`` cannot be one.
    """
    if identity is None:
        return RecordStore(None)
    if record_store:
        return RecordStore(ObjectRecord(record_store, identity))
    if task_state_store is not None:
        return RecordStore(TaskState(task_state_store))
    if archive is not None:
        return RecordStore(ObjectRecord(archive[0], identity, archive[1]), lasts=False)
    return RecordStore(None)
