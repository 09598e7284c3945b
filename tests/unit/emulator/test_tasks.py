"""The rules of time and slots: no I/O, a clock that the test moves."""

from __future__ import annotations

import pytest

from airflow_kling.emulator.clock import AdjustableClock
from airflow_kling.emulator.endpoints import Endpoint, Variant
from airflow_kling.emulator.errors import ApiError
from airflow_kling.emulator.gateways import OFFICIAL as OFFICIAL_GATEWAY
from airflow_kling.emulator.routes import ROUTES
from tests.unit.emulator.store import Clock, creation, store

COMET, COMET_V2, OFFICIAL = (Endpoint(ROUTES[0], variant) for variant in ROUTES[0].variants)
DAY = 24 * 3600


@pytest.fixture
def clock():
    return Clock()


def test_status_follows_the_clock(clock):
    task = store(clock).create("a", COMET, creation())
    seen = []
    for seconds in (0, 1.9, 2.1, 9.9, 10.0):
        now = clock.now + seconds
        seen.append((task.status(now), round(task.changed_at(now) - clock.now, 6)))
    assert seen == [("submitted", 0), ("submitted", 0), ("processing", 2), ("processing", 2), ("succeed", 10)]


def test_a_task_with_a_failure_ends_failed(clock):
    task = store(clock).create("a", COMET, creation(), failure="Image pixel is invalid")
    assert task.status(clock.now + 9) == "processing"
    assert task.status(clock.now + 10) == "failed"


def test_a_task_waits_for_its_references(clock):
    tasks = store(clock)
    task = tasks.create("a", COMET, creation(), fetching=True)
    clock.now += 60
    assert task.status(clock.now) == "processing"
    tasks.references_fetched(task, "Failed to download the reference image: 404")
    assert task.status(clock.now) == "failed"
    assert task.changed_at(clock.now) == clock.now


def test_references_fetched_early_do_not_end_a_task(clock):
    tasks = store(clock)
    task = tasks.create("a", COMET, creation(), fetching=True)
    tasks.references_fetched(task, None)
    assert task.status(clock.now + 9.9) == "processing"
    assert task.status(clock.now + 10) == "succeed"


def test_a_task_takes_n_slots_until_its_end(clock):
    tasks = store(clock, concurrency=4)
    tasks.create("a", COMET, creation(n=3))
    with pytest.raises(ApiError) as refused:
        tasks.create("a", COMET, creation(n=2))
    assert refused.value.body("r") == {
        "code": 1303,
        "message": "parallel task over resource pack limit",
        "request_id": "r",
    }
    assert refused.value.status == 429
    tasks.create("a", COMET, creation(n=1))
    tasks.create("b", COMET, creation(n=4))
    clock.now += 10
    assert tasks.slots("a") == 0
    tasks.create("a", COMET, creation(n=4))
    assert tasks.slots("a") == 4


def test_slots_of_a_task_that_waits_for_references(clock):
    tasks = store(clock, concurrency=2)
    task = tasks.create("a", COMET, creation(n=2), fetching=True)
    clock.now += 100
    assert tasks.slots("a") == 2
    tasks.references_fetched(task, None)
    assert tasks.slots("a") == 0


def test_references_fetched_after_a_reset_are_ignored(clock):
    tasks = store(clock)
    task = tasks.create("a", COMET, creation(), fetching=True)
    tasks.reset()
    tasks.create("a", COMET, creation())
    tasks.references_fetched(task, None)
    clock.now += 10
    assert tasks.slots("a") == 0


def test_an_external_id_is_used_once_per_account(clock):
    tasks = store(clock)
    tasks.create("a", COMET, creation(external_task_id="x"))
    tasks.create("b", COMET, creation(external_task_id="x"))
    with pytest.raises(ApiError) as refused:
        tasks.create("a", COMET_V2, creation(external_task_id="x"))
    assert (refused.value.status, refused.value.code) == (400, 1201)
    clock.now += 31 * DAY
    tasks.create("a", COMET, creation(external_task_id="x"))


def test_duplicates_can_be_allowed(clock):
    tasks = store(clock, allow_duplicate_external_ids=True)
    first, second = (tasks.create("a", OFFICIAL, creation(external_task_id="x")) for _ in range(2))
    assert first.task_id != second.task_id
    assert tasks.find("a", OFFICIAL, "x") is second


@pytest.mark.parametrize(
    ("gateway", "body"),
    [
        (COMET, {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
        (COMET_V2, {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
        (OFFICIAL, {"code": 1203, "message": "task not found", "request_id": "r"}),
    ],
)
def test_unknown_foreign_and_expired_tasks_are_not_found(clock, gateway, body):
    tasks = store(clock)
    task = tasks.create("a", gateway, creation(external_task_id="x"))
    assert tasks.find("a", gateway, task.task_id) is task
    other = COMET if gateway is not COMET else OFFICIAL
    for account, endpoint, key in (("a", gateway, "1"), ("b", gateway, task.task_id), ("a", other, task.task_id)):
        with pytest.raises(ApiError):
            tasks.find(account, endpoint, key)
    clock.now += 30 * DAY
    with pytest.raises(ApiError) as gone:
        tasks.find("a", gateway, task.task_id)
    assert gone.value.body("r") == body
    assert gone.value.status == (404 if gateway.gateway.official else 400)


def test_only_the_official_gateway_finds_external_ids(clock):
    tasks = store(clock)
    task = tasks.create("a", OFFICIAL, creation(external_task_id="x"))
    tasks.create("a", COMET, creation(external_task_id="y"))
    assert tasks.find("a", OFFICIAL, "x") is task
    with pytest.raises(ApiError):
        tasks.find("a", COMET, "y")


def test_pages_are_newest_first_and_skip_what_is_gone(clock):
    tasks = store(clock, retention=100.0)
    made = []
    for number in range(7):
        made.append(tasks.create("a", OFFICIAL, creation()))
        tasks.create("a", COMET, creation())
        clock.now += 10 if number else 50
    made.reverse()
    assert tasks.page("a", OFFICIAL, 1, 3) == made[:3]
    assert tasks.page("a", OFFICIAL, 2, 3) == made[3:6]
    assert tasks.page("a", OFFICIAL, 3, 3) == []  # the first is 110 s old
    assert tasks.page("b", OFFICIAL, 1, 3) == []


def test_the_clock_moves_forward_only(clock):
    adjustable = AdjustableClock(clock)
    assert adjustable.advance(5) == clock.now + 5
    with pytest.raises(ValueError, match="back"):
        adjustable.advance(-1)


@pytest.mark.parametrize("key", ["id", "external id"])
def test_a_task_is_not_found_under_another_path(clock, key):
    tasks = store(clock)
    task = tasks.create("a", OFFICIAL, creation(external_task_id="x"))
    elsewhere = Endpoint(ROUTES[0], Variant(OFFICIAL_GATEWAY, "images/elsewhere"))
    with pytest.raises(ApiError) as refused:
        tasks.find("a", elsewhere, task.task_id if key == "id" else "x")
    assert (refused.value.status, refused.value.code) == (404, 1203)
    assert tasks.page("a", elsewhere, 1, 30) == []
