"""Skips tests of the documentation on older lines of Airflow: it is written for the newest."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS


@pytest.fixture(scope="session", autouse=True)
def _airflow_that_the_documentation_is_written_for() -> None:
    if not AIRFLOW_V_3_3_PLUS:
        pytest.skip("the documentation is written for Airflow 3.3")
