"""Requests that may meet a fault."""

from __future__ import annotations

from tests.unit.emulator.calls import PATHS, body

PATH = PATHS["cometapi"]


def post(http, **changes):
    return http.post(PATH, json=body(**changes))


def made(http, **changes):
    return post(http, **changes).json()["data"]["task_id"]


def get(http, task_id):
    return http.get(f"{PATH}/{task_id}")


def image_url(http):
    return get(http, made(http)).json()["data"]["task_result"]["images"][0]["url"]


def created(emulator):
    return emulator.ledger()["totals"]["created"]


def add(http, **fault):
    """Put a fault in force through the control endpoint, as another process would."""
    answer = http.post("/_emulator/faults", json=fault)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
