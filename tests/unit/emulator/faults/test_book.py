"""Which fault applies to which request."""

from __future__ import annotations

import pytest

from tests.unit.emulator.faults.calls import add, get, made, post


def test_after_and_times(emulator, http):
    add(http, on="create", action="error", code=1302, after=1, times=2)
    assert [post(http).status_code for _ in range(5)] == [200, 429, 429, 200, 200]


def test_match(emulator, http):
    first, second = made(http, external_task_id="one"), made(http, external_task_id="two")
    add(http, on="query", action="error", code=5000, match={"external_task_id": "two"})
    add(http, on="query", action="error", code=5001, match={"task_id": first, "gateway": "official"})
    add(http, on="create", action="error", code=1302, match={"external_task_id": "three", "account": "default"})
    assert (get(http, first).status_code, get(http, second).status_code) == (200, 500)
    assert post(http, external_task_id="three").status_code == 429
    assert post(http, external_task_id="four").status_code == 200


def test_on_any(emulator, http):
    task_id = made(http)
    add(http, action="error", code=5001, times=2)
    assert [get(http, task_id).status_code, post(http).status_code] == [503, 503]
    assert get(http, task_id).status_code == 200


def test_faults_are_listed_and_removed(emulator, http):
    fault = add(http, on="create", action="error", code=1302)
    post(http)
    described = {"id": fault, "hits": 1, "held": 0, "on": "create", "action": "error", "code": 1302}
    assert http.get("/_emulator/faults").json() == {"faults": [described]}
    assert http.delete(f"/_emulator/faults/{fault}").status_code == 204
    assert http.delete(f"/_emulator/faults/{fault}").status_code == 404
    add(http, action="drop")
    assert http.delete("/_emulator/faults").status_code == 204
    assert http.get("/_emulator/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "explode"},
        {"on": "create"},
        {"action": "error", "colour": "red"},
        {"action": "bomb", "on": "create"},
        {"action": "error", "match": {"promt": "x"}},
        [],
        "{",
    ],
)
def test_nonsense_is_refused(emulator, http, fault):
    answer = http.post("/_emulator/faults", content="{") if fault == "{" else http.post("/_emulator/faults", json=fault)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_wait_until_held_has_an_end(emulator):
    fault = emulator.faults.add(on="create", action="hold")
    with pytest.raises(TimeoutError):
        emulator.faults.wait_until_held(fault, timeout=0.01)
