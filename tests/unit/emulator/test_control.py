"""The control endpoints."""

from __future__ import annotations

import time

import pytest

from tests.unit.emulator.calls import PATHS, create, query


def test_health(http):
    assert http.get("/_emulator/health").json() == {"status": "ok"}


@pytest.mark.parametrize("body", [{"forward": 1}, {"advance": "soon"}, {"advance": -1}, {"advance": None}, []])
def test_the_clock_refuses_nonsense(http, body):
    answer = http.post("/_emulator/clock", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith('expected {"advance": seconds}')


def test_reset_and_clock(emulator, http):
    task_id = create(http)
    answer = http.post("/_emulator/clock", json={"advance": 30})
    assert answer.json()["now"] > time.time()
    assert query(http, task_id)["task_status"] == "succeed"
    assert http.post("/_emulator/reset").status_code == 200
    assert emulator.ledger()["requests"]["query"] == 0
    assert http.get(f"{PATHS['cometapi']}/{task_id}").status_code == 400
