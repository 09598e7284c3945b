"""The wait that sensor and operators share: its route, its tags, and what it hands over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred

from airflow_kling.api.client import KlingClient
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingNotFinishedError
from airflow_kling.reporting import metrics
from airflow_kling.sensors.task import KlingTaskSensor

pytestmark = pytest.mark.usefixtures("quick")

OTHER = "text-to-video"
WAYS: list[dict[str, Any]] = [{}, *({"deferrable": False, "mode": mode} for mode in ("poke", "reschedule"))]


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The routes of all queries; each goes to the one that the emulator has."""
    asked: list[str] = []
    get = KlingClient.get

    def noting(self: KlingClient, kling_task_id: str, *, route: str, **options: Any) -> Any:
        asked.append(route)
        return get(self, kling_task_id, **options)

    monkeypatch.setattr(KlingClient, "get", noting)
    return asked


def sensor(kling_task_id: str, **fields: Any) -> KlingTaskSensor:
    return KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, **fields)


def test_the_route_goes_with_the_id_everywhere(
    routes: list[str], kling: Emulator, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tags: list[Any] = []
    monkeypatch.setattr(metrics, "polled", lambda count, given, **_: tags.append(given))
    kling_task_id = submitted()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(kling_task_id, route=OTHER).execute({})
    assert deferred.value.trigger.serialize()[1]["route"] == OTHER
    assert deferred.value.kwargs["route"] == OTHER  # type: ignore[index]
    kling.advance(120)
    sensor(kling_task_id, route="not rendered").execute_complete({}, {}, **deferred.value.kwargs or {})
    assert routes == [OTHER, OTHER]
    assert [given["route"] for given in tags] == [OTHER, OTHER]


def test_the_route_of_the_event_is_taken_where_nothing_was_deferred(
    routes: list[str], kling: Emulator, submitted: Callable[..., str]
) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    sensor("x", route="not rendered").execute_complete({}, {"kling_task_id": kling_task_id, "route": OTHER})
    assert routes == [OTHER]


def test_the_route_is_templated(routes: list[str], kling: Emulator, submitted: Callable[..., str]) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    wait = sensor("{{ params.id }}", route="{{ params.route }}")
    context: Any = {"params": {"id": kling_task_id, "route": OTHER}}
    wait.render_template_fields(context)
    wait.execute(context)
    assert routes == [OTHER]


def test_without_a_route_it_is_the_default_one(
    routes: list[str], kling: Emulator, submitted: Callable[..., str]
) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    sensor(kling_task_id).execute({})
    sensor(kling_task_id, deferrable=False).execute({})
    assert routes == [DEFAULT_ROUTE, DEFAULT_ROUTE]


def test_worker_and_triggerer_do_not_hand_a_task_to_each_other_for_ever(
    kling: Emulator, submitted: Callable[..., str]
) -> None:
    wait = sensor(submitted())
    deadline = time.time() + 60
    with pytest.raises(TaskDeferred):
        wait.wait_deferred(str(wait.kling_task_id), deadline, refusals=1)
    with pytest.raises(KlingNotFinishedError, match="will be billed") as caught:
        wait.wait_deferred(str(wait.kling_task_id), deadline, refusals=2)
    assert caught.value.retryable


def paused(wait: KlingTaskSensor, event: dict[str, Any], **resume: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as again:
        wait.execute_complete({}, event, **resume)
    return again.value


def test_what_remains_is_sent_and_no_date_alone(kling: Emulator, submitted: Callable[..., str]) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(submitted(), timeout=600).execute({})
    assert 590 < deferred.value.trigger.serialize()[1]["remaining"] <= 600


def test_a_triggerer_that_calls_the_wait_over_too_soon_is_no_longer_given_a_date(
    kling: Emulator, submitted: Callable[..., str]
) -> None:
    wait = sensor(submitted())
    resume: dict[str, Any] = {"kling_task_id": str(wait.kling_task_id), "deadline": time.time() + 600}
    again = paused(wait, {"status": "timeout"}, **resume)
    for event in ({"status": "error"}, {"status": "timeout"}):
        arguments = again.trigger.serialize()[1]
        assert "deadline" not in arguments
        assert 590 < arguments["remaining"] <= 600
        assert again.timeout is not None  # Airflow's own limit holds whatever the clocks say
        assert again.timeout.total_seconds() < 600 + 301
        again = paused(wait, event, **(again.kwargs or {}))


def test_the_event_of_a_task_that_started_in_the_triggerer_says_what_remains(
    kling: Emulator, submitted: Callable[..., str]
) -> None:
    again = paused(sensor("x"), {"kling_task_id": submitted(), "status": "error", "remaining": 100.0})
    assert 90 < again.trigger.serialize()[1]["remaining"] <= 100


def test_a_connection_that_only_workers_have_is_named(kling: Emulator, submitted: Callable[..., str]) -> None:
    wait = sensor(submitted())
    event = {"status": "error", "reason": "AirflowNotFoundException"}
    resume: dict[str, Any] = {"kling_task_id": str(wait.kling_task_id), "deadline": time.time() + 60}
    again = paused(wait, event, **resume)
    with pytest.raises(KlingNotFinishedError, match="cannot open connection 'kling_default': AirflowNot") as caught:
        wait.execute_complete({}, event, **(again.kwargs or {}))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "how", [{}, {"deferrable": False, "mode": "poke"}, {"deferrable": False, "mode": "reschedule"}]
)
def test_the_timeout_carries_what_the_last_poll_said(
    how: dict[str, Any], kling: Emulator, submitted: Callable[..., str], airflow_home: Any
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="html", status=403)
    with pytest.raises(AirflowSensorTimeout) as caught:
        sensor(task_id, timeout=0, **how).execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    for words in (task_id, "HTTP 403", kling.url.removeprefix("http://"), "will be billed"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "how", [{}, {"deferrable": False, "mode": "poke"}, {"deferrable": False, "mode": "reschedule"}]
)
@pytest.mark.parametrize("result", [{}, {"images": [{"index": 0, "url": ""}]}], ids=str)
def test_a_success_without_results_at_the_deadline_is_retryable(
    result: Any, how: dict[str, Any], kling: Emulator, submitted: Callable[..., str], airflow_home: Any
) -> None:
    task_id = submitted()
    body = {"code": 0, "data": {"task_id": task_id, "task_status": "succeed", "task_result": result}}
    kling.faults.add(on="query", action="error", status=200, body=body, times=1)
    with pytest.raises(KlingNotFinishedError, match="has succeeded, but") as caught:
        sensor(task_id, timeout=0, **how).execute({"ti": TaskInstance()})  # type: ignore[arg-type]
    assert caught.value.retryable
    kling.advance(120)
    assert sensor(task_id, timeout=0, **how).execute({"ti": TaskInstance()})  # type: ignore[arg-type]


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries, try_number = "dag", "run", "wait", -1, 0, 1

    def get_first_reschedule_date(self, context: Any) -> None: ...

    def xcom_push(self, **_: Any) -> None: ...
