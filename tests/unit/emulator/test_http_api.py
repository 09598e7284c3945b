"""The API over real HTTP: create, query and list on each gateway."""

from __future__ import annotations

import pytest

from airflow_kling.emulator import EmulatorConfig, serve
from tests.unit.emulator.calls import PATHS, body, client, create, query


@pytest.mark.parametrize("gateway", PATHS)
def test_life_cycle(emulator, http, gateway):
    before = emulator.state.clock()
    answer = http.post(PATHS[gateway], json=body(external_task_id="mine", n=2)).json()
    assert (answer["code"], answer["message"]) == (0, "SUCCEED")
    assert answer["request_id"]
    created = answer["data"]
    assert created["task_status"] == "submitted"
    assert int(before * 1000) <= created["created_at"] <= emulator.state.clock() * 1000
    emulator.advance(15)
    assert query(http, created["task_id"], gateway)["task_status"] == "processing"
    emulator.advance(15)
    done = query(http, created["task_id"], gateway)
    assert done["task_status"] == "succeed"
    assert done["task_info"] == {"external_task_id": "mine"}
    assert done["final_unit_deduction"] == "32"
    assert done["updated_at"] - done["created_at"] == pytest.approx(30_000, abs=1)
    assert [image["index"] for image in done["task_result"]["images"]] == [0, 1]


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2"])
def test_cometapi_has_no_list_and_does_not_know_external_ids(http, gateway):
    create(http, gateway, external_task_id="mine")
    answer = http.get(PATHS[gateway])
    assert (answer.status_code, answer.json()) == (404, {"code": None, "message": "404"})
    answer = http.get(f"{PATHS[gateway]}/mine")
    assert answer.status_code == 400
    assert answer.json() == {"code": "task_not_exist", "message": "task_not_exist", "data": None}


def test_official_list_and_external_ids(http):
    ids = [create(http, "official", external_task_id=f"job-{number}") for number in range(3)]
    listed = http.get(PATHS["official"], params={"pageNum": 1, "pageSize": 2}).json()["data"]
    assert [task["task_id"] for task in listed] == [ids[2], ids[1]]
    assert len(http.get(PATHS["official"]).json()["data"]) == 3
    assert query(http, "job-1", "official")["task_id"] == ids[1]


@pytest.mark.parametrize("parameter", ["pageNum=0", "pageNum=1001", "pageSize=501", "pageSize=x", "pageSize="])
def test_pages_out_of_range(http, parameter):
    answer = http.get(f"{PATHS['official']}?{parameter}")
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)


def test_unrouted_paths(http):
    assert http.post("/kling/v1/images/nothing").json() == {"code": None, "message": "404"}
    answer = http.get("/v1/images/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, 1203)
    answer = http.put(PATHS["official"])
    assert (answer.status_code, answer.json()["code"]) == (404, 1202)


def test_foreign_tasks_are_not_found(http, stranger):
    answer = stranger.get(f"{PATHS['official']}/{create(http, 'official')}")
    assert (answer.status_code, answer.json()["code"]) == (404, 1203)


def test_concurrency():
    with serve(EmulatorConfig(concurrency=3)) as emulator, client(emulator) as http:
        create(http, n=2)
        answer = http.post(PATHS["cometapi"], json=body(n=2))
        assert answer.status_code == 429
        assert answer.json() == {
            "code": 1303,
            "message": "parallel task over resource pack limit",
            "request_id": answer.json()["request_id"],
        }
        emulator.advance(8)
        create(http, n=3)
