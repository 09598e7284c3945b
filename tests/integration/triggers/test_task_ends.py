"""The trigger of a task that started in the triggerer: a success ends the task there, all else resumes on a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent

from airflow_kling.api.async_client import AsyncKlingClient
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.emulator import Emulator
from airflow_kling.reporting import metrics
from airflow_kling.reporting.links import GALLERY_LINKS
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.triggers.task import KlingTaskTrigger

pytestmark = pytest.mark.usefixtures("quick")


def run(one: KlingTaskTrigger) -> list[Any]:
    async def collect() -> list[Any]:
        async with asyncio.timeout(60):
            return [event async for event in one.run()]

    return asyncio.run(collect())


def trigger(kling_task_id: str, **fields: Any) -> KlingTaskTrigger:
    made = KlingTaskTrigger(kling_task_id=kling_task_id, poke_interval=0.02, end_from_trigger=True, **fields)
    made.task_instance = SimpleNamespace(dag_id="dag", run_id="run", task_id="wait", map_index=3)  # type: ignore[assignment]
    return made


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    xcoms: list[dict[str, Any]] = []

    async def aset(**fields: Any) -> None:
        xcoms.append(fields)

    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.aset", aset, raising=False)
    return xcoms


def results(pushed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [xcom for xcom in pushed if xcom["key"] == "return_value"]


def test_a_link_that_cannot_be_pushed_changes_nothing(
    kling: Emulator, submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []

    async def aset(*, key: str, **fields: Any) -> None:
        if key == "kling_gallery_link":
            raise ConnectionError("the API server is away")
        received.append(key)

    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.aset", aset, raising=False)
    task_id = submitted()
    kling.advance(120)
    [event] = run(trigger(task_id, timeout=60))
    assert isinstance(event, TaskSuccessEvent)
    assert received == ["return_value"]


def test_success_ends_the_task_with_the_finished_task_as_its_xcom(
    kling: Emulator, submitted: Callable[..., str], pushed: list[dict[str, Any]]
) -> None:
    task_id = submitted(n=2)
    kling.advance(120)
    [event] = run(trigger(task_id, timeout=60))
    assert isinstance(event, TaskSuccessEvent)
    *links, xcom = pushed
    assert [link["key"] for link in links] == [link.xcom_key for link in GALLERY_LINKS]
    page = f"/kling/gallery?dag_id=dag&run_id=run&kling_task_id={task_id}"
    assert all(link["value"].endswith(page) for link in links)
    assert {name: xcom[name] for name in ("key", "dag_id", "run_id", "task_id", "map_index")} == {
        "key": "return_value",
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "wait",
        "map_index": 3,
    }
    assert xcom["value"]["kling_task_id"] == task_id
    assert xcom["value"]["status"] == "succeed"
    assert len(xcom["value"]["images"]) == 2


def test_failure_resumes_on_a_worker(
    kling: Emulator, submitted: Callable[..., str], pushed: list[dict[str, Any]]
) -> None:
    kling.faults.add(on="create", action="fail_task")
    task_id = submitted()
    kling.advance(120)
    [event] = run(trigger(task_id, timeout=3600))
    # What remains, and no date: the worker's clock is another.
    assert 3000 < event.payload.pop("remaining") <= 3600
    assert event.payload == {"kling_task_id": task_id, "route": DEFAULT_ROUTE, "status": "failed"}
    assert results(pushed) == []


def test_timeout_resumes_on_a_worker_that_has_all_it_needs(
    kling: Emulator, submitted: Callable[..., str], pushed: list[dict[str, Any]]
) -> None:
    task_id = submitted()
    [event] = run(trigger(task_id, timeout=0.1))
    assert event.payload["status"] == "timeout"
    kling.advance(120)
    finished = KlingTaskSensor(task_id="wait", kling_task_id="not rendered").execute_complete({}, event.payload)
    assert finished["kling_task_id"] == task_id
    assert results(pushed) == []


def test_success_whose_details_cannot_be_had_resumes_on_a_worker(
    kling: Emulator, submitted: Callable[..., str], pushed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def briefly(client: AsyncKlingClient, kling_task_id: str, *, route: str, whole: bool) -> Any:
        return await status(client, kling_task_id, route=route)

    status = AsyncKlingClient.status
    monkeypatch.setattr(AsyncKlingClient, "status", briefly)  # as a list tells of it
    task_id = submitted()
    kling.advance(120)
    kling.faults.add(on="query", action="error", code=1000, after=1)
    [event] = run(trigger(task_id, timeout=60))
    assert event.payload["kling_task_id"] == task_id
    assert event.payload["status"] == "succeed"
    assert results(pushed) == []


def test_a_result_that_cannot_be_pushed_resumes_on_a_worker_and_is_counted_there(
    kling: Emulator,
    submitted: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    plain_logs: pytest.LogCaptureFixture,
) -> None:
    async def aset(**_: Any) -> None:
        raise ConnectionError("with a secret")

    counted: list[bool] = []
    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.aset", aset, raising=False)
    monkeypatch.setattr(metrics, "finished", lambda *_, in_triggerer=False, **__: counted.append(in_triggerer))
    task_id = submitted()
    kling.advance(120)
    [event] = run(trigger(task_id, timeout=60))
    assert event.payload["status"] == "succeed"
    assert "return_value was not pushed: ConnectionError" in plain_logs.text
    assert "secret" not in plain_logs.text
    finished = KlingTaskSensor(task_id="wait", kling_task_id=task_id).execute_complete({}, event.payload)
    assert finished["kling_task_id"] == task_id
    assert counted == [False]


@pytest.mark.parametrize("kling_task_id", ["{{ ti.xcom_pull(task_ids='submit', map_indexes=-1) }}", "None", ""])
def test_an_id_that_airflow_has_not_rendered_is_left_to_a_worker(
    kling_task_id: str, kling: Emulator, submitted: Callable[..., str], pushed: list[dict[str, Any]]
) -> None:
    task_id = submitted()
    kling.advance(120)
    [event] = run(trigger(kling_task_id, timeout=60))
    assert kling.ledger()["requests"].get("query", 0) == 0
    assert pushed == []
    finished = KlingTaskSensor(task_id="wait", kling_task_id=task_id).execute_complete({}, event.payload)
    assert finished["kling_task_id"] == task_id


def test_deadline_is_the_same_after_a_restart(kling: Emulator) -> None:
    before = time.time()
    first = trigger("8334", timeout=60)
    path, arguments = first.serialize()
    assert arguments["end_from_trigger"] is True
    assert before + 60 <= arguments["deadline"] <= time.time() + 60
    assert KlingTaskTrigger(**arguments).serialize() == (path, arguments)
