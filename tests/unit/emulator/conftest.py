"""An emulator that is started once for its tests, and a client of it."""

from __future__ import annotations

import pytest

from airflow_kling.emulator import Account, Duration, EmulatorConfig, serve
from airflow_kling.emulator.config import DEFAULT_ACCOUNT
from tests.unit.emulator.calls import client

OTHER = Account("other", "another-key")


@pytest.fixture(scope="session")
def running():
    config = EmulatorConfig(accounts=(DEFAULT_ACCOUNT, OTHER), duration=Duration(30.0), image_size=160, url_ttl=600)
    with serve(config) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    """An empty emulator whose tasks end when a test calls ``advance(30)``."""
    running.reset()
    return running


@pytest.fixture
def http(emulator):
    with client(emulator) as session:
        yield session


@pytest.fixture
def stranger(emulator):
    """A client with another account."""
    with client(emulator, OTHER.api_key) as session:
        yield session
