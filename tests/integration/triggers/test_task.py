"""``KlingTaskTrigger``: one event, not too soon, never after its deadline; nothing in it that must not be logged."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.polling import poller
from airflow_kling.polling.poller import StatusPoller
from airflow_kling.triggers import task
from airflow_kling.triggers.task import KlingTaskTrigger

REASON = "Failure to pass the risk control system"


def trigger(kling_task_id: str, **fields: Any) -> KlingTaskTrigger:
    given: dict[str, Any] = {"poke_interval": 0.02, "deadline": time.time() + 60, **fields}
    return KlingTaskTrigger(kling_task_id=kling_task_id, **given)


def event(kling_task_id: str, status: str) -> dict[str, Any]:
    return {"kling_task_id": kling_task_id, "route": DEFAULT_ROUTE, "status": status}


async def collect(*triggers: KlingTaskTrigger) -> list[Any]:
    async def events(one: KlingTaskTrigger) -> list[Any]:
        return [event.payload async for event in one.run()]

    async with asyncio.timeout(60):
        return [payload for payloads in await asyncio.gather(*map(events, triggers)) for payload in payloads]


def run(*triggers: KlingTaskTrigger, meanwhile: Callable[[], object] = lambda: None) -> list[Any]:
    async def both() -> list[Any]:
        events, _ = await asyncio.gather(collect(*triggers), asyncio.to_thread(meanwhile))
        return events

    return asyncio.run(both())


def again(one: KlingTaskTrigger) -> KlingTaskTrigger:
    """What another triggerer makes of it."""
    path, arguments = json.loads(json.dumps(one.serialize()))
    module, name = path.rsplit(".", 1)
    made: KlingTaskTrigger = getattr(import_module(module), name)(**arguments)
    return made


def wait_for_queries(emulator: Emulator, number: int) -> None:
    until = time.monotonic() + 60
    while emulator.ledger(tasks=False)["requests"]["query"] < number:
        assert time.monotonic() < until
        time.sleep(0.01)


ENDS: list[tuple[str | None, str]] = [(None, "succeed"), ("Image pixel is invalid", "failed"), (REASON, "failed")]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("reason", "status"), ENDS)
def test_one_event_that_holds_the_status_and_no_more(
    reason: str | None, status: str, kling: Emulator, submitted: Callable[..., str]
) -> None:
    if reason:
        kling.faults.add(on="create", action="fail_task", message=reason)
    task_id = submitted(prompt="a secret prompt")
    kling.advance(120)
    assert run(trigger(task_id)) == [event(task_id, status)]
    assert kling.ledger()["requests"] == {"create": 1, "query": 1, "list": 0, "image": 0}


@pytest.mark.usefixtures("quick")
def test_it_polls_until_the_task_is_finished(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()

    def meanwhile() -> None:
        wait_for_queries(kling, 3)
        kling.advance(120)

    assert run(trigger(task_id), meanwhile=meanwhile) == [event(task_id, "succeed")]
    assert kling.ledger()["requests"]["query"] >= 4


class Clock:
    """The clock of the pollers, which a test moves on."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    patch_clock(monkeypatch, clock)
    return clock


def patch_clock(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
    defaults = StatusPoller.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", clock)


@pytest.mark.parametrize("restarted", [False, True])
def test_first_poll_comes_no_sooner_than_five_seconds_after_the_start(
    restarted: bool, kling: Emulator, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = submitted()
    kling.advance(120)
    now = began = 1000.0
    wait_until_due = StatusPoller._until_due

    async def until_due(poller: StatusPoller) -> None:
        nonlocal now
        if len(poller._queue):
            now = max(now, poller._queue.next_due)
        await wait_until_due(poller)

    patch_clock(monkeypatch, lambda: now)
    monkeypatch.setattr(StatusPoller, "_until_due", until_due)
    one = trigger(task_id, poke_interval=1.0, deadline=time.time() + 600, remaining=600.0)
    assert run(again(one) if restarted else one) == [event(task_id, "succeed")]
    assert now - began >= 5.0
    assert kling.ledger()["requests"]["query"] == 1


@pytest.mark.usefixtures("quick")
def test_deadline_ends_the_wait(kling: Emulator, submitted: Callable[..., str], clock: Clock) -> None:
    task_id = submitted()

    def meanwhile() -> None:
        wait_for_queries(kling, 2)
        clock.advance(600)

    one = trigger(task_id, deadline=time.time() + 600)
    assert run(one, meanwhile=meanwhile) == [event(task_id, "timeout")]


@pytest.mark.usefixtures("quick")
def test_deadline_is_the_same_after_a_restart_of_the_triggerer(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    first = trigger(task_id, deadline=time.time())
    second = again(first)
    assert second.serialize() == first.serialize()
    assert run(again(second)) == [event(task_id, "timeout")]
    assert kling.ledger()["requests"]["query"] == 1


@pytest.mark.usefixtures("quick")
def test_task_that_is_finished_at_the_deadline_is_not_a_timeout(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    kling.advance(120)
    assert run(trigger(task_id, deadline=time.time() - 60)) == [event(task_id, "succeed")]


def test_it_serialises_to_plain_arguments_without_a_secret(kling: Emulator) -> None:
    path, arguments = trigger("8334", kling_conn_id="team").serialize()
    assert path == "airflow_kling.triggers.task.KlingTaskTrigger"
    assert {"kling_task_id", "kling_conn_id", "poke_interval", "deadline"} <= set(arguments)
    assert "task_id" not in arguments
    assert all(isinstance(value, str | int | float) for value in arguments.values())
    assert kling.api_key not in json.dumps(arguments)


PASSING = [
    {"action": "error", "code": 5000},
    {"action": "error", "code": 5001},
    {"action": "error", "code": 5002},
    {"action": "error", "code": 1302},
    {"action": "error", "code": 1303},
    {"action": "error", "status": 524},
    {"action": "html"},
    {"action": "html", "status": 200},
    {"action": "drop"},
    {"action": "unknown_status"},
    {"action": "wrapped"},
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_passing_errors_are_waited_out(fault: dict[str, Any], kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    kling.advance(120)
    kling.faults.add(on="query", times=3, **fault)
    assert run(trigger(task_id)) == [event(task_id, "succeed")]


@pytest.mark.usefixtures("quick")
def test_lost_connection_is_waited_out(
    kling: Emulator, connect: Callable[..., str], closed_port: int, submitted: Callable[..., str]
) -> None:
    connect(kling, host=f"http://127.0.0.1:{closed_port}")
    assert run(trigger("8334", deadline=time.time() + 0.2)) == [event("8334", "timeout")]


# A key that is refused may have been replaced since, so it is read again once.
FINAL: list[tuple[dict[str, Any], int]] = [
    ({"action": "error", "code": 1000}, 2),
    ({"action": "error", "status": 401}, 2),
    ({"action": "error", "code": 1101}, 1),
    ({"action": "error", "code": 1103}, 2),
    ({"action": "error", "status": 400, "body": {"code": "task_not_exist", "message": "m", "data": None}}, 1),
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("fault", "queries"), FINAL, ids=str)
def test_errors_that_waiting_cannot_help_end_the_wait_at_once(
    fault: dict[str, Any], queries: int, kling: Emulator, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", times=queries, **fault)
    assert run(trigger(task_id)) == [event(task_id, "error")]
    assert kling.ledger()["requests"]["query"] == queries


@pytest.mark.usefixtures("quick")
def test_a_key_that_is_replaced_while_tasks_wait_ends_no_wait(kling: Emulator, submitted: Callable[..., str]) -> None:
    ids = [submitted() for _ in range(3)]

    def meanwhile() -> None:
        wait_for_queries(kling, 3)
        kling.faults.add(on="query", action="error", code=1000, times=1)  # the old key is no longer taken
        wait_for_queries(kling, 6)
        kling.advance(120)

    events = run(*map(trigger, ids), meanwhile=meanwhile)
    assert [event["status"] for event in events] == ["succeed"] * 3


@pytest.mark.usefixtures("quick")
def test_unknown_task_ends_the_wait(kling: Emulator) -> None:
    assert run(trigger("8334")) == [event("8334", "error")]


class Loop(asyncio.SelectorEventLoop):
    """Its time can be moved on."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def run_until_given_up(*triggers: KlingTaskTrigger) -> list[Any]:
    """Let the patience with their connection end once it has failed."""

    async def main() -> list[Any]:
        shared = StatusPoller.of(triggers[0].kling_conn_id, task._connect)
        waiting = asyncio.create_task(collect(*triggers))
        while not (shared.trouble or waiting.done()):  # noqa: ASYNC110 - the poller's trouble has no event
            await asyncio.sleep(0.01)
        loop.ahead += poller.OPEN_PATIENCE
        return await waiting

    loop = Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


@pytest.mark.usefixtures("quick")
def test_connection_that_cannot_work_ends_the_wait(kling: Emulator, connect: Callable[..., str]) -> None:
    connect(kling, password="")
    [told] = run_until_given_up(trigger("8334"))
    assert "has no API key" in told.pop("reason")
    assert told == event("8334", "error")
    assert kling.ledger()["requests"]["query"] == 0


@pytest.mark.usefixtures("quick", "airflow_home")
def test_connection_that_only_workers_have_ends_with_an_event_and_not_with_a_failed_trigger() -> None:
    told = run_until_given_up(*(trigger(str(number), kling_conn_id="only_workers_have_it") for number in range(40)))
    assert [one["status"] for one in told] == ["error"] * 40
    assert all(one["reason"].isidentifier() for one in told)  # the class: a message might quote a secret


@pytest.mark.usefixtures("quick", "airflow_home")
def test_connection_that_cannot_be_looked_up_for_a_moment_ends_no_wait(
    kling: Emulator, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task_ids = [submitted() for _ in range(4)]
    kling.advance(120)
    lookups = iter([TimeoutError("secrets backend"), OSError("supervisor")])
    lookup = KlingHook.aget_settings

    async def failing(self: KlingHook) -> Any:
        if error := next(lookups, None):
            raise error
        return await lookup(self)

    monkeypatch.setattr(KlingHook, "aget_settings", failing)
    assert run(*map(trigger, task_ids)) == [event(task_id, "succeed") for task_id in task_ids]


EMPTY: list[Any] = [{}, {"images": []}, {"images": [{"index": 0, "url": ""}]}, {"images": [{"index": 0}]}]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize("result", EMPTY, ids=str)
def test_a_success_without_results_is_waited_out(
    result: Any, gateway: str, kling: Emulator, connect: Callable[..., str], subjects: list[str]
) -> None:
    connect(kling, gateway=gateway)
    task_ids = [KlingHook().submit({"subject_images": subjects}).kling_task_id for _ in range(6)]
    kling.advance(120)
    for task_id in task_ids:
        data = {"task_id": task_id, "task_status": "succeed", "task_result": result}
        body = {"code": 0, "message": "SUCCEED", "data": data}
        kling.faults.add(on="query", match={"task_id": task_id}, action="error", status=200, body=body, times=2)
    bare = {"code": 0, "data": [{"task_id": task_id, "task_status": "succeed"} for task_id in task_ids]}
    kling.faults.add(on="list", action="error", status=200, body=bare, times=2)
    assert run(*map(trigger, task_ids)) == [event(task_id, "succeed") for task_id in task_ids]
    assert kling.ledger()["requests"]["query"] >= 6


@pytest.mark.usefixtures("quick")
def test_a_success_that_stays_without_results_is_a_timeout(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    body = {"code": 0, "data": {"task_id": task_id, "task_status": "succeed", "task_result": {}}}
    kling.faults.add(on="query", action="error", status=200, body=body)
    assert run(trigger(task_id, deadline=time.time() + 0.2)) == [event(task_id, "timeout")]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ahead", [-86_400, -120, 600, 86_400])
def test_another_clock_changes_neither_the_first_poll_nor_the_wait(
    ahead: float, kling: Emulator, submitted: Callable[..., str], clock: Clock
) -> None:
    task_id = submitted()
    kling.advance(120)
    worker = time.time() - ahead  # the triggerer's clock is that of this process
    done = trigger(task_id, deadline=worker + 60, remaining=60.0, since=worker)
    assert run(again(done)) == [event(task_id, "succeed")]
    waits = submitted()
    polled = kling.ledger()["requests"]["query"]

    def meanwhile() -> None:
        wait_for_queries(kling, polled + 2)
        clock.advance(600)

    long = trigger(waits, deadline=worker + 600, remaining=600.0, since=worker)
    assert run(again(long), meanwhile=meanwhile) == [event(waits, "timeout")]


@pytest.mark.usefixtures("quick")
def test_a_wait_without_a_deadline_goes_by_what_is_left_alone(kling: Emulator, submitted: Callable[..., str]) -> None:
    one = trigger(submitted(), deadline=None, remaining=0.3)
    _, arguments = again(one).serialize()
    assert arguments["remaining"] == 0.3
    assert "deadline" not in arguments
    assert run(again(one)) == [event(one.kling_task_id, "timeout")]


ODD: list[Any] = [float("nan"), float("inf"), -float("inf"), "soon", True, [1]]


@pytest.mark.parametrize("name", ["deadline", "remaining", "timeout", "since", "poke_interval"])
@pytest.mark.parametrize("value", ODD, ids=str)
def test_seconds_that_are_none_are_refused_in_one_sentence(name: str, value: Any) -> None:
    with pytest.raises(KlingInputError, match=f"^{name} is .*, it must be a number of seconds; nothing was asked.$"):
        KlingTaskTrigger(kling_task_id="8334", **{name: value})


@pytest.mark.usefixtures("quick")
def test_unknown_status_is_logged_once(
    kling: Emulator, submitted: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    task_id = submitted()
    kling.advance(120)
    kling.faults.add(on="query", action="unknown_status", task_status="reviewing", times=5)
    assert run(trigger(task_id)) == [event(task_id, "succeed")]
    assert caplog.text.count("reviewing") == 1
    assert kling.ledger()["requests"]["query"] == 6


@pytest.mark.usefixtures("quick")
def test_each_of_many_gets_its_own_event(kling: Emulator, submitted: Callable[..., str]) -> None:
    kling.faults.add(on="create", action="fail_task", match={"prompt": "dragon"})
    ids = [submitted(prompt="dragon" if number % 3 == 0 else "cat") for number in range(12)]
    kling.advance(120)
    events = run(*map(trigger, ids), trigger("8334"))
    expected = ["failed" if number % 3 == 0 else "succeed" for number in range(12)]
    assert [event["kling_task_id"] for event in events] == [*ids, "8334"]
    assert [event["status"] for event in events] == [*expected, "error"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("with_pair", [False, True])
def test_it_works_with_the_official_gateway(
    with_pair: bool, emulator: Emulator, connect: Callable[..., str], subjects: list[str]
) -> None:
    pair = {"access_key": emulator.access_key, "secret_key": emulator.secret_key} if with_pair else {}
    connect(emulator, gateway="official", extra=pair, **({"password": None} if with_pair else {}))
    task_id = KlingHook().submit({"subject_images": subjects}).kling_task_id
    emulator.advance(120)
    assert run(trigger(task_id)) == [event(task_id, "succeed")]


@pytest.mark.usefixtures("quick")
def test_it_never_creates(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="error", code=5000, times=4)
    run(trigger(task_id, deadline=time.time() + 0.2))
    assert kling.ledger()["requests"]["create"] == kling.ledger()["totals"]["created"] == 1


@pytest.mark.usefixtures("quick")
def test_cancelled_wait_leaves_nothing_running(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()

    async def cancel() -> None:
        waiting = asyncio.create_task(collect(trigger(task_id)))
        await asyncio.to_thread(wait_for_queries, kling, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(60):
            while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - the poller's own has no event
                await asyncio.sleep(0.01)

    asyncio.run(cancel())


def test_killing_it_says_that_the_generation_runs_on(plain_logs: pytest.LogCaptureFixture) -> None:
    asyncio.run(trigger("8334").on_kill())
    assert "no cancel call" in plain_logs.text
    assert "8334" in plain_logs.text


@pytest.mark.parametrize(("option", "frozen"), [(None, 1), ("True", 1), ("False", 0)])
def test_garbage_collections_are_frozen_once_unless_the_configuration_says_no(
    option: str | None, frozen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr("gc.freeze", lambda: calls.append(True))
    if option:
        monkeypatch.setenv("AIRFLOW__KLING__FREEZE_GARBAGE_COLLECTION", option)
    task._freeze_loaded_modules.cache_clear()
    for _ in range(2):
        task._freeze_loaded_modules()
    assert len(calls) == frozen
