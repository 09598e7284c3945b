"""Polls that come at once."""

from __future__ import annotations

import pytest

from airflow_kling.polling import poller, schedule


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first poll, and the list, come at once."""
    monkeypatch.setattr(schedule, "FIRST_POLL_AFTER_DEFERRAL", 0.01)
    monkeypatch.setattr(schedule, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(poller, "LIST_GAP", 0.01)
