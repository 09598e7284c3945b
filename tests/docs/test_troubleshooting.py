"""Compares the page of error messages with the source: it quotes what the source raises, and nothing else."""

from __future__ import annotations

import inspect
import re

import pytest

from airflow_kling import exceptions
from airflow_kling.api.error_table import BY_CODE, BY_STATUS
from tests.docs.blocks import CHECKOUT
from tests.docs.sentences import raised, said

PAGE = (CHECKOUT / "docs" / "troubleshooting.md").read_text()
ROW = re.compile(r"^\| `(?P<message>[^`]+)` \|", re.MULTILINE)
CODE_ROW = re.compile(r"^\| (`\w+`|HTTP \d+) \| `(\w+)` \| (.+) \| (.+) \|$", re.MULTILINE)
QUOTED = sorted({row["message"] for row in ROW.finditer(PAGE)} - {*BY_CODE})


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_that_is_quoted_is_in_the_source(message: str) -> None:
    assert [text for text in said() if _covers(message, text)]


@pytest.mark.parametrize("text", sorted(raised()))
def test_a_message_that_is_raised_is_quoted(text: str) -> None:
    assert [message for message in QUOTED if _covers(message, text)]


def test_every_code_and_status_of_the_api_is_there_as_the_source_has_it() -> None:
    expected = {(f"`{code}`", r.error.__name__, r.what, r.advice) for code, r in BY_CODE.items()}
    expected |= {(f"HTTP {status}", r.error.__name__, r.what, r.advice) for status, r in BY_STATUS.items()}
    assert {row.groups() for row in CODE_ROW.finditer(PAGE)} == expected


def test_every_exception_is_there() -> None:
    named = set(re.findall(r"\bKling\w+", PAGE))
    assert {name for name, kind in vars(exceptions).items() if inspect.isclass(kind)} <= named


def _covers(message: str, text: str) -> bool:
    """Whether a quoted part of a message is in a text, values left out at its ends."""
    return message.strip("… ") in text
