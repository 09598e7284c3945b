"""Keeps what a callback has told in the record store: which Kling task an ``external_task_id`` has become.

A note is a hint. Who reads it asks the API for the task, and believes that.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_kling.api.callbacks import callback_name
from airflow_kling.exceptions import KlingInputError, KlingSubmissionError
from airflow_kling.storage.keys import check_task_id

if TYPE_CHECKING:
    from airflow_kling.storage.base import Store

log = logging.getLogger(__name__)


def write_note(store: Store, name: str, kling_task_id: str) -> str:
    """Note which Kling task was made, unless there is a note already.

    :param store: the record store.
    :param name: see :func:`airflow_kling.api.callbacks.callback_name`.
    :return: the Kling task id that is noted: the first one stays.
    """
    noted = _read(store, name)
    if noted is not None:
        return noted
    note = {"kling_task_id": check_task_id(kling_task_id), "noted_at": datetime.now(UTC).isoformat(timespec="seconds")}
    body = json.dumps(note).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    store.put(_key(name), io.BytesIO(body), content_type="application/json", sha256=sha256)
    return kling_task_id


def read_note(store: Store, external_task_id: str) -> str | None:
    """Return the Kling task id that a callback has named for an ``external_task_id``; None where none has come.

    :raises KlingSubmissionError: the record store cannot be read.
    """
    name = callback_name(external_task_id)
    try:
        return _read(store, name)
    except Exception as error:  # each storage has errors of its own
        raise KlingSubmissionError(
            f"The note of a callback ({store.uri(_key(name))}) could not be read: {type(error).__name__}: "
            f"{str(error)[:300]}. A retry of the task tries again.",
            external_task_id=external_task_id,
            retryable=True,
        ) from error


def _read(store: Store, name: str) -> str | None:
    body = io.BytesIO()
    if not store.download(_key(name), body):
        return None
    try:
        note: Any = json.loads(body.getvalue())
        return check_task_id(note["kling_task_id"])
    except (ValueError, KeyError, TypeError, KlingInputError):
        log.warning("%s is not a note of a callback; it is ignored.", store.uri(_key(name)))
        return None


def _key(name: str) -> str:
    return f"callbacks/{name}.json"
