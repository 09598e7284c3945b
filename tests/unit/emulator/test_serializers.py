"""Tasks as JSON, and signed URLs."""

from __future__ import annotations

from airflow_kling.emulator import EmulatorConfig, serve
from tests.unit.emulator.calls import PATHS, body, client, download, query, result_urls


def test_sparse_and_wrapped_answers():
    with serve(EmulatorConfig(sparse=True, wrapped=True)) as emulator, client(emulator) as http:
        answer = http.post(PATHS["cometapi"], json=body(external_task_id="mine")).json()
        task_id = answer["data"]["task_id"]
        assert answer == {"code": 0, "message": "SUCCEED", "data": {"task_id": task_id}}
        waiting = http.get(f"{PATHS['cometapi']}/{task_id}").json()
        assert (waiting["code"], waiting["data"]["status"]) == ("success", "SUBMITTED")
        emulator.advance(8)
        done = http.get(f"{PATHS['cometapi']}/{task_id}").json()["data"]
        assert (done["status"], done["progress"], done["fail_reason"]) == ("SUCCESS", "100%", "")
        assert done["data"]["task_status"] == "succeed"
        assert "index" not in done["data"]["task_result"]["images"][0]
        official = http.post(PATHS["official"], json=body()).json()
        assert official["data"]["task_status"] == "submitted"


def test_result_urls_refuse_keys_forgery_and_old_age(emulator, http):
    url = result_urls(emulator, http)[0]
    leaked = download(url, headers={"Authorization": f"Bearer {emulator.api_key}"})
    assert (leaked.status_code, "Only one auth mechanism" in leaked.text) == (400, True)
    assert download(url.replace("token=", "token=0")).status_code == 403
    assert download(url.replace("0.png", "1.png")).status_code == 403
    assert download(url.partition("?")[0]).status_code == 403
    emulator.advance(600)
    assert download(url).status_code == 403
    task_id = url.split("/")[-2]
    assert download(query(http, task_id)["task_result"]["images"][0]["url"]).status_code == 200
