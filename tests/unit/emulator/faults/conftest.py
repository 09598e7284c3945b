"""An emulator whose tasks end at once, for the tests of faults."""

from __future__ import annotations

import pytest

from airflow_kling.emulator import Duration, EmulatorConfig, serve


@pytest.fixture(scope="package")
def running():
    with serve(EmulatorConfig(duration=Duration(0.0), image_size=64)) as emulator:
        yield emulator
