"""Defines a finding, and prints findings."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Level(enum.Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    :param subject: what was checked, such as ``key``.
    :param text: one sentence; of a failure also what to do. No secret.
    """

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level.value:5}{self.subject:20}{self.text}"


def ok(subject: str, text: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(Level.OK, subject, text)


def note(subject: str, text: str) -> Finding:
    """Make a finding that is good to know, or that could not be made here."""
    return Finding(Level.NOTE, subject, text)


def fail(subject: str, text: str) -> Finding:
    """Make a finding that a DAG would fail for."""
    return Finding(Level.FAIL, subject, text)


def any_failed(findings: Iterable[Finding]) -> bool:
    """Tell whether a DAG would fail."""
    return any(finding.level is Level.FAIL for finding in findings)
