"""The wait that sensor and operators share: its route, its tags, and what it hands over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_kling.api.client import KlingClient
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingNotFinishedError
from airflow_kling.reporting import metrics
from airflow_kling.sensors.task import KlingTaskSensor

pytestmark = pytest.mark.usefixtures("quick")

OTHER = "text-to-video"


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
