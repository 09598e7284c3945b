"""An Airflow of the tests' own: nothing is read from or written to the user's AIRFLOW_HOME."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.airflow.harness.shared import Shared

# Airflow reads its configuration when it is first imported, which is before any fixture runs.
_HOME = tempfile.mkdtemp(prefix="airflow-kling-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
for _name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_") or name == "KLING_API_KEY"]:
    del os.environ[_name]

# A run that is told to end (a CI's time limit) ends the servers of its fixtures on the way out.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# How long a test may take in which a whole Airflow takes part. Its waits find out themselves when something hangs.
SLOW, SLOW_SECONDS = ("airflow", "browser", "docs"), 1800
_kept: list[Path] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest interrupt a test with an Airflow only after its own waits have given up, of which it may do many."""
    folders = [Path(__file__).parent / name for name in SLOW]
    for item in items:
        if item.get_closest_marker("timeout") is None and any(one in item.path.parents for one in folders):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def _files(tmp_path_factory: pytest.TempPathFactory) -> None:
    _kept.append(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run the one Airflow that system and browser tests share."""
    from tests.airflow.harness.shared import shared_airflow

    with shared_airflow(tmp_path_factory.getbasetemp()) as shared:
        yield shared


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Name the folder in which the files of failed tests stay: logs of Airflow, of the emulator, archives."""
    if exitstatus and _kept:
        terminalreporter.write_line(f"Files and logs of these tests are kept below {_kept[0]}")
