"""Reads single values out of XComs. Pure.

The author of a DAG can write anything into an XCom, so no value is trusted: one of another type than expected counts as
missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_MAX_TEXT = 4000  # characters, longer than any prompt that Kling takes


def as_mapping(value: Any) -> dict[str, Any]:
    """Return the value of an XCom as a mapping, an empty one where it is something else."""
    # Airflow keeps a value that a person typed into its UI as JSON in a text.
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def request_of(value: Mapping[str, Any], *, archived: bool) -> dict[str, Any]:
    """Return the request record of a generation; empty where there is none.

    :param value: of the XCom that the archive task pushed, which contains the record, or of the one that the submitting
        task pushed, which is the record.
    """
    return as_mapping(value.get("asked") if archived else value)


def text(value: Any) -> str:
    """Return a text, cut off where it is longer than any of Kling's."""
    # JSON can hold half of a surrogate pair, which UTF-8 cannot.
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def whole_number(value: Any, least: int, most: int) -> int:
    """Return a whole number between two others; the least one where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else least


def finite(value: Any) -> float | None:
    """Return a finite number; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
