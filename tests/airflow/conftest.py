"""Gives tests with a real Airflow time: they end by the states that they wait for, and a hung wait says so itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.waiting import HUNG

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest interrupt a test only after its own waits have given up."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3 * HUNG))
