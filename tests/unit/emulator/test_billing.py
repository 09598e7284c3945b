"""The ledger."""

from __future__ import annotations

import httpx

from airflow_kling.emulator.billing import ledger
from airflow_kling.emulator.endpoints import Endpoint
from airflow_kling.emulator.routes import ROUTES
from tests.unit.emulator.calls import PATHS, create, picture, query
from tests.unit.emulator.store import Clock, creation, store


def test_failed_tasks_are_not_billed():
    clock = Clock()
    tasks = store(clock)
    endpoint = Endpoint(ROUTES[0], ROUTES[0].variants[0])
    tasks.create("a", endpoint, creation(n=2))
    tasks.create("a", endpoint, creation(n=5), failure="no")
    clock.now += 10
    assert ledger(tasks, ["a", "b"], {"create": 2})["totals"] == {
        "created": 2,
        "failed": 1,
        "billed_tasks": 1,
        "billed_images": 2,
        "billed_videos": 0,
        "billed_units": 32,
        "billed_image_units": 32,
        "billed_video_units": 0,
        "billed_try_on_units": 0,
    }


def test_the_ledger_tells_what_was_done(emulator, http):
    task_id = create(http, "official", external_task_id="mine", n=2)
    query(http, task_id, "official")
    http.get(PATHS["official"])
    http.post(PATHS["cometapi"], json={})
    told = httpx.get(f"{emulator.url}/_emulator/ledger", trust_env=False).json()
    assert told == emulator.ledger()
    assert told["requests"] == {"create": 2, "query": 1, "list": 1, "image": 0}
    totals = {"created": 1, "failed": 0, "billed_tasks": 1, "billed_images": 2, "billed_units": 32}
    assert told["totals"] | totals == told["totals"]
    assert told["accounts"]["other"] == {"totals": dict.fromkeys(told["totals"], 0), "slots": 0, "tasks": []}
    task = told["accounts"]["default"]["tasks"][0]
    assert task["route"] == "multi-image-to-image"
    assert (task["task_id"], task["external_task_id"], task["gateway"]) == (task_id, "mine", "official")
    assert (task["units"], task["pack"]) == (32, "image")
    subject = task["request"]["subject_image_list"][0]["subject_image"]
    assert (subject["bytes"], len(subject["sha256"])) == (len(picture()), 64)
    short = httpx.get(f"{emulator.url}/_emulator/ledger?tasks=false", trust_env=False).json()
    assert "tasks" not in short["accounts"]["default"]
