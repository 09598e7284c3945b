"""``KlingTaskSensor`` in its three ways of waiting: what it returns, raises, tolerates and hands over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import KlingTask
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingError,
    KlingInputError,
    KlingTaskFailed,
    KlingTaskNotFoundError,
)
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.triggers.task import KlingTaskTrigger

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow 2
    from airflow.exceptions import AirflowRescheduleException

MODES = ["deferrable", "poke", "reschedule"]
REASON, MODERATED = "Image pixel is invalid", "Failure to pass the risk control system"


def sensor(kling_task_id: str, mode: str = "deferrable", **fields: Any) -> KlingTaskSensor:
    how = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    return KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, **{"poke_interval": 0.05, **how, **fields})


class Waiting:
    """Runs a sensor to its end, as Airflow would: rescheduled and resumed as often as it asks."""

    def __init__(self, context: dict[str, Any]) -> None:
        self.context = context
        self.runs = 0

    def __call__(self, task: KlingTaskSensor, *, before_next: Callable[[], object] = lambda: None) -> Any:
        resume: TaskDeferred | None = None
        for _ in range(20):
            self.runs += 1
            try:
                if resume is None:
                    return task.execute(self.context)
                event = {"event": {"kling_task_id": "a lie", "status": "a lie"}}
                return task.resume_execution(resume.method_name, {**(resume.kwargs or {}), **event}, self.context)
            except AirflowRescheduleException:
                before_next()
            except TaskDeferred as deferred:
                resume = deferred
                before_next()
        raise AssertionError("waits for ever")


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries, try_number = "dag", "run", "wait", -1, 0, 1

    def get_first_reschedule_date(self, context: Any) -> None: ...


@pytest.fixture
def wait(airflow_home: Any, quick: None) -> Waiting:
    return Waiting({"ti": TaskInstance()})


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``sleep(60)``: let time pass, and nothing else does; a sensor on a worker sleeps by it too."""
    now = time.time()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "time", lambda: now)
    airflows = import_module(BaseSensorOperator.__module__)
    monkeypatch.setattr(airflows, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    return sleep


@pytest.mark.parametrize("mode", MODES)
def test_finished_task_is_returned_at_the_first_poll(
    mode: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    task_id = submitted(n=2, external_task_id="mine")
    kling.advance(120)
    finished = wait(sensor(task_id, mode))
    assert finished["route"] == DEFAULT_ROUTE
    assert set(finished) == {
        "route",
        "kling_task_id",
        "external_task_id",
        "status",
        "status_message",
        "images",
        "created_at",
        "updated_at",
        "unit_deduction",
    }
    assert (finished["kling_task_id"], finished["external_task_id"], finished["status"]) == (task_id, "mine", "succeed")
    assert [set(image) for image in finished["images"]] == [{"index", "url"}] * 2
    assert finished["updated_at"] > finished["created_at"]
    assert finished["created_at"].endswith("+00:00")
    assert json.loads(json.dumps(finished)) == finished
    assert kling.ledger()["requests"]["query"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_it_waits_until_the_task_is_finished(
    mode: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = submitted()
    task = sensor(task_id, mode)
    monkeypatch.setattr(time, "sleep", lambda seconds: kling.advance(40))
    assert wait(task, before_next=lambda: kling.advance(40))["status"] == "succeed"
    assert kling.ledger()["requests"]["query"] == 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("reason", "moderated"), [(REASON, False), (MODERATED, True)])
def test_failed_generation_raises_the_providers_reason(
    mode: str, reason: str, moderated: bool, kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    kling.faults.add(on="create", action="fail_task", message=reason)
    task_id = submitted()
    kling.advance(120)
    with pytest.raises(KlingTaskFailed) as caught:
        wait(sensor(task_id, mode))
    assert reason in str(caught.value)
    assert caught.value.status_message == reason
    assert caught.value.kling_task_id == task_id
    assert isinstance(caught.value, AirflowFailException) is moderated


def test_generation_that_fails_while_deferred(kling: Emulator, submitted: Callable[..., str], wait: Waiting) -> None:
    kling.faults.add(on="create", action="fail_task", message=MODERATED)
    task_id = submitted()
    with pytest.raises(KlingTaskFailed, match=MODERATED) as caught:
        wait(sensor(task_id), before_next=lambda: kling.advance(120))
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("mode", MODES)
def test_timeout(
    mode: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting, sleep: Callable[[float], None]
) -> None:
    task_id = submitted()
    # Rescheduled tasks have their first start in the database; with no time at all the first look is the last.
    timeout = 0 if mode == "reschedule" else 60
    with pytest.raises(AirflowSensorTimeout):
        wait(sensor(task_id, mode, timeout=timeout, poke_interval=30), before_next=lambda: sleep(61))
    assert kling.ledger()["requests"]["query"] >= (2 if timeout else 1)


def test_timeout_of_a_deferred_wait_says_what_happens_to_the_money(
    kling: Emulator, submitted: Callable[..., str], wait: Waiting, sleep: Callable[[float], None]
) -> None:
    task_id = submitted()
    with pytest.raises(AirflowSensorTimeout, match="will be billed") as caught:
        wait(sensor(task_id, timeout=60), before_next=lambda: sleep(61))
    assert task_id in str(caught.value)


def test_task_that_ends_at_the_deadline_is_not_lost(
    kling: Emulator, submitted: Callable[..., str], wait: Waiting, sleep: Callable[[float], None]
) -> None:
    task_id = submitted()

    def late() -> None:
        sleep(61)
        kling.advance(120)

    assert wait(sensor(task_id, timeout=60), before_next=late)["status"] == "succeed"


# --- soft_fail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reason", [REASON, MODERATED])
def test_soft_fail_skips_after_a_failed_generation(
    how: str, mode: str, reason: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    kling.faults.add(on="create", action="fail_task", message=reason)
    task_id = submitted()
    kling.advance(120)
    with pytest.raises(AirflowSkipException):
        wait(sensor(task_id, mode, **{how: True}))


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
def test_soft_fail_skips_after_a_generation_that_failed_while_deferred(
    how: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    kling.faults.add(on="create", action="fail_task", message=REASON)
    task_id = submitted()
    with pytest.raises(AirflowSkipException):
        wait(sensor(task_id, **{how: True}), before_next=lambda: kling.advance(120))


@pytest.mark.parametrize("mode", MODES)
def test_soft_fail_skips_after_the_timeout(
    mode: str, kling: Emulator, submitted: Callable[..., str], wait: Waiting, sleep: Callable[[float], None]
) -> None:
    task_id = submitted()
    timeout = 0 if mode == "reschedule" else 60
    with pytest.raises(AirflowSkipException):
        wait(sensor(task_id, mode, soft_fail=True, timeout=timeout, poke_interval=30), before_next=lambda: sleep(61))


@pytest.mark.parametrize("mode", MODES)
def test_soft_fail_skips_when_waiting_cannot_help(mode: str, kling: Emulator, wait: Waiting) -> None:
    with pytest.raises(AirflowSkipException):
        wait(sensor("8334", mode, soft_fail=True))


# --- errors -----------------------------------------------------------------------------------------------------------

PASSING = [
    {"action": "error", "code": 5000},
    {"action": "error", "code": 5001},
    {"action": "error", "code": 1302},
    {"action": "error", "code": 1303},
    {"action": "error", "status": 524},
    {"action": "html"},
    {"action": "html", "status": 200},
    {"action": "drop"},
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_passing_errors_are_waited_out(
    mode: str,
    fault: dict[str, Any],
    kling: Emulator,
    submitted: Callable[..., str],
    wait: Waiting,
    plain_logs: pytest.LogCaptureFixture,
) -> None:
    task_id = submitted()
    kling.advance(120)
    kling.faults.add(on="query", times=1, **fault)
    assert wait(sensor(task_id, mode))["status"] == "succeed"
    assert kling.ledger()["requests"]["query"] == 2
    assert "waiting on" in plain_logs.text


@pytest.mark.parametrize("mode", MODES)
def test_lost_connection_is_waited_out(
    mode: str,
    kling: Emulator,
    submitted: Callable[..., str],
    wait: Waiting,
    connect: Callable[..., str],
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task_id = submitted()
    kling.advance(120)
    connect(kling, host=f"http://127.0.0.1:{closed_port}")
    task = sensor(task_id, mode)

    def back(*_: Any) -> None:
        connect(kling)
        task.__dict__.pop("hook", None)

    monkeypatch.setattr(time, "sleep", back)
    assert wait(task, before_next=back)["status"] == "succeed"


FINAL: list[tuple[dict[str, Any], type[KlingError]]] = [
    ({"action": "error", "code": 1000}, KlingAuthenticationError),
    ({"action": "error", "status": 401}, KlingAuthenticationError),
    (
        {"action": "error", "status": 400, "body": {"code": "task_not_exist", "message": "m", "data": None}},
        KlingTaskNotFoundError,
    ),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fault", "kind"), FINAL, ids=[kind.__name__ for _, kind in FINAL])
def test_errors_that_waiting_cannot_help_are_raised_at_once_and_not_retried(
    mode: str, fault: dict[str, Any], kind: type[KlingError], kling: Emulator, submitted: Any, wait: Waiting
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", **fault)
    with pytest.raises(kind) as caught:
        wait(sensor(task_id, mode))
    assert isinstance(caught.value, AirflowFailException)
    assert kling.ledger()["requests"]["query"] == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("odd", ["", " ", None])
def test_id_that_is_none_is_refused(mode: str, odd: Any, kling: Emulator, wait: Waiting) -> None:
    with pytest.raises(KlingInputError, match="not a Kling task id"):
        wait(sensor(odd, mode))
    assert kling.ledger()["requests"]["query"] == 0


def test_error_that_comes_while_deferred_is_raised_on_resume(
    kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    task_id = submitted()
    with pytest.raises(KlingAuthenticationError) as caught:
        wait(sensor(task_id), before_next=lambda: kling.faults.add(on="query", action="error", code=1000))
    assert isinstance(caught.value, AirflowFailException)


def test_passing_error_on_resume_is_tried_again_at_once(
    kling: Emulator, submitted: Callable[..., str], wait: Waiting
) -> None:
    task_id = submitted()

    def finish() -> None:
        kling.advance(120)
        kling.faults.add(on="query", action="error", code=5000, times=2)

    assert wait(sensor(task_id), before_next=finish)["status"] == "succeed"
    assert wait.runs == 2


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_unknown_status_keeps_waiting_and_is_logged_once(
    mode: str,
    kling: Emulator,
    submitted: Callable[..., str],
    wait: Waiting,
    plain_logs: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task_id = submitted()
    kling.advance(120)
    kling.faults.add(on="query", action="unknown_status", task_status="reviewing", times=4)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert wait(sensor(task_id, mode))["status"] == "succeed"
    assert kling.ledger()["requests"]["query"] == 5
    assert plain_logs.text.count("reviewing") == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [2, 3])
def test_wrapped_envelope(mode: str, depth: int, kling: Emulator, submitted: Callable[..., str], wait: Waiting) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="wrapped", depth=depth)
    kling.advance(120)
    assert wait(sensor(task_id, mode))["images"]


# --- deferring --------------------------------------------------------------------------------------------------------


def test_it_defers_with_plain_arguments(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    task = sensor(task_id, poke_interval=timedelta(seconds=30), timeout=timedelta(hours=1))
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    trigger = deferred.value.trigger
    assert isinstance(trigger, KlingTaskTrigger)
    path, arguments = trigger.serialize()
    assert path == "airflow_kling.triggers.task.KlingTaskTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments["kling_task_id"] == task_id
    assert arguments["kling_conn_id"] == "kling_default"
    assert arguments["poke_interval"] == 30
    assert before + 3600 <= arguments["deadline"] <= time.time() + 3600
    assert "task_id" not in arguments
    assert deferred.value.method_name == "execute_complete"
    kwargs = deferred.value.kwargs or {}
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert kwargs["deadline"] == arguments["deadline"]
    # Airflow's own limit is only for when no triggerer runs: it comes well after ours.
    assert deferred.value.timeout is not None
    assert timedelta(hours=1, minutes=1) < deferred.value.timeout < timedelta(hours=2)


@pytest.mark.parametrize("event", [None, {}, {"status": "succeed"}, {"status": "failed"}])
def test_what_the_event_claims_does_not_matter(event: Any, kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    resume = {"kling_task_id": task_id, "deadline": time.time() + 60}
    with pytest.raises(TaskDeferred) as again:
        sensor(task_id).execute_complete({}, event, **resume)
    assert again.value.kwargs == {**resume, "route": DEFAULT_ROUTE, "refusals": 0}
    kling.advance(120)
    assert sensor(task_id).execute_complete({}, event, **resume)["status"] == "succeed"


def test_deadline_is_kept_over_every_deferral(
    kling: Emulator, submitted: Callable[..., str], wait: Waiting, sleep: Callable[[float], None]
) -> None:
    task_id = submitted()
    deadlines: list[float] = []
    task = sensor(task_id, timeout=60)
    defer = task.defer
    task.defer = lambda **kwargs: (deadlines.append(kwargs["trigger"].deadline), defer(**kwargs))  # type: ignore[method-assign]
    with pytest.raises(AirflowSensorTimeout):
        wait(task, before_next=lambda: sleep(25))
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1


def test_soft_fail_holds_for_airflows_own_limit_on_a_deferral(kling: Emulator, submitted: Callable[..., str]) -> None:
    with pytest.raises(AirflowSkipException):
        sensor(submitted(), soft_fail=True).resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_fields_are_templated(kling: Emulator, submitted: Callable[..., str], connect: Callable[..., str]) -> None:
    connect(kling, conn_id="team")
    task_id = submitted()
    kling.advance(120)
    task = KlingTaskSensor(task_id="wait", kling_task_id="{{ params.id }}", kling_conn_id="{{ params.conn }}")
    context: Any = {"params": {"id": task_id, "conn": "team"}}
    task.render_template_fields(context)
    assert task.execute(context)["kling_task_id"] == task_id


def test_it_is_deferrable_by_default() -> None:
    assert KlingTaskSensor(task_id="wait", kling_task_id="8334").deferrable


def test_killing_it_says_that_the_generation_runs_on(
    kling: Emulator, submitted: Callable[..., str], plain_logs: pytest.LogCaptureFixture
) -> None:
    task_id = submitted()
    task = sensor(task_id)
    with pytest.raises(TaskDeferred):
        task.execute({})
    task.on_kill()
    assert "no cancel call" in plain_logs.text
    assert task_id in plain_logs.text


def test_a_triggerer_that_alone_is_refused_is_named(kling: Emulator, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    event = {"kling_task_id": task_id, "status": "error"}
    resume: Any = {"kling_task_id": task_id, "deadline": time.time() + 60}
    with pytest.raises(TaskDeferred) as again:  # the key may have been replaced since
        sensor(task_id).execute_complete({}, event, **resume)
    with pytest.raises(KlingError, match="The triggerer was refused") as caught:
        sensor(task_id).execute_complete({}, event, **again.value.kwargs or {})
    assert caught.value.retryable
    kling.advance(120)
    assert sensor(task_id).execute_complete({}, event)["status"] == "succeed"


# --- the pace and the deadline of the route ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "fields", "interval", "seconds"),
    [
        ("multi-image-to-image", {}, None, 3600),
        ("image-to-video", {}, None, 7200),
        ("image-to-video", {"poke_interval": 5, "timeout": 60}, 5, 60),
        ("{{ 'text-to-video' }}", {}, None, 7200),
        ("{{ 'image-expansion' }}", {}, None, 3600),
        ("{{ '' }}", {}, None, 3600),
    ],
)
def test_a_wait_goes_by_the_route_unless_the_author_says_otherwise(
    route: str, fields: dict[str, Any], interval: float | None, seconds: float, kling: Emulator
) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id="unknown", route=route, **fields)
    wait.render_template_fields({})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KlingTaskSensor, "poll", lambda *args, **kwargs: KlingTask(kling_task_id="unknown"))
        with pytest.raises(TaskDeferred) as deferred:
            wait.execute({})
    trigger: Any = deferred.value.trigger
    assert trigger.poke_interval == interval
    assert trigger.remaining == pytest.approx(seconds, abs=30)
    assert wait.timeout == seconds
    assert wait.poke_interval == (interval or 20)
