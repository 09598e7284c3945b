"""Tells what of a user's values is not given, shows a value in a message, and names the lists of results."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any

#: What the entries of a result list are, by the name of the list in answers and in XCom.
RESULT_KINDS = {"images": "image", "videos": "video", "audios": "audio"}


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for none: None, NaN of any kind, pandas' ``NaT`` and ``NA``.

    A text is none of them: ``nan`` may be what somebody wrote.
    """
    if value is None:
        return True
    if isinstance(value, Decimal):
        return value.is_nan()  # a signalling one cannot be compared
    if isinstance(value, str | bytes | Iterable):
        return False
    try:
        return bool(value != value)
    except Exception:  # pandas' NA is neither equal to itself nor not
        return type(value).__name__ == "NAType"


def is_blank(value: Any) -> bool:
    """Tell whether a value is missing, or a text without a character that is seen."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def plain(value: Any) -> Any:
    """Return Python's own value for a number, an array or a column of numpy and pandas, every other value as it is."""
    return value.tolist() if hasattr(value, "dtype") and hasattr(value, "tolist") else value


def from_text(value: Any) -> Any:
    """Return the list or dict that a template has rendered to its text; every other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{", "(")):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError):
                return read(value.strip())
    return value


def shortened(value: Any) -> str:
    """Return a value as a message shows it, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
