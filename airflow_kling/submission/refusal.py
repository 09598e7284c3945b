"""Decides what a refusal of the parameters (400) can mean: an ``external_task_id`` that exists, or another mistake."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from airflow_kling.exceptions import KlingError

Meaning = Literal["duplicate", "doubtful", "other"]

#: With one of these codes, or none, Kling refuses a second task with the same ``external_task_id`` [C].
_CODES = frozenset({None, "400", "1200", "1201", "invalid_request"})
#: Statuses of such a refusal, where the code says nothing.
_STATUSES = frozenset({None, 200, 400, 409, 422})
_SPEAKS_OF_A_DUPLICATE = re.compile(
    r"external|duplicat|already|(?<!not )exist|unique|repeat|conflict|in use|idempoten|重复|已存在|唯一", re.IGNORECASE
)


def meaning_of(error: KlingError, fields: Iterable[str]) -> Meaning:
    """Tell what was wrong: the identity for certain, a field that the message names, or nobody knows.

    :param fields: names of the fields of the request, as callers and as the API spell them.
    """
    if error.code not in _CODES or error.http_status not in _STATUSES:
        return "other"
    message = _said(error)
    if error.http_status == 409 or _SPEAKS_OF_A_DUPLICATE.search(message):
        return "duplicate"
    named = "|".join(re.escape(name).replace("_", "[ _]?") for name in fields)
    return "other" if named and re.search(rf"\b({named})\b", message, re.IGNORECASE) else "doubtful"


def _said(error: KlingError) -> str:
    """Return the API's own words, which an error quotes."""
    quoted = re.search(r'"(.*)"', str(error), re.DOTALL)
    return quoted[1] if quoted else str(error)
