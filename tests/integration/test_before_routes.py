"""What was stored before there were routes goes on as multi-image-to-image: triggers, deferrals, records and XComs.

``before_routes/`` holds them as that code wrote them; a test puts in the ids and times of its own run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.emulator import Emulator
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.submission.identity import fingerprint
from airflow_kling.submission.record import KEY

pytestmark = pytest.mark.usefixtures("quick")


def stored(name: str, **changes: Any) -> Any:
    value = json.loads((Path(__file__).parent / "before_routes" / f"{name}.json").read_text())
    assert "route" not in value
    return {**value, **changes} if changes else value


def run(trigger: Any) -> list[Any]:
    async def collect() -> list[Any]:
        async with asyncio.timeout(60):
            return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


@pytest.fixture
def finished(kling: Emulator, submitted: Callable[..., str]) -> str:
    """A task that is finished by now; returns its id."""
    kling_task_id = submitted(external_task_id=stored("submission_record")["external_task_id"])
    kling.advance(120)
    return kling_task_id


def test_a_trigger(finished: str) -> None:
    path, arguments = stored("trigger")
    assert "route" not in arguments
    module, name = path.rsplit(".", 1)
    arguments |= {"kling_task_id": finished, "deadline": time.time() + 60, "since": time.time() - 60}
    trigger = getattr(import_module(module), name)(**arguments)
    assert run(trigger) == [{"kling_task_id": finished, "route": DEFAULT_ROUTE, "status": "succeed"}]
    assert trigger.serialize() == (path, {**arguments, "route": DEFAULT_ROUTE})


def test_a_trigger_that_started_the_task(finished: str, kling: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_kling.triggers.task import KlingTaskTrigger

    async def aset(**_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.aset", aset, raising=False)
    trigger = KlingTaskTrigger(**stored("start_trigger_kwargs", kling_task_id=finished))
    trigger.task_instance = SimpleNamespace(dag_id="dag", run_id="run", task_id="wait", map_index=-1)  # type: ignore[assignment]
    [event] = run(trigger)
    assert (event["kling_task_id"], event["route"]) == (finished, DEFAULT_ROUTE)


def test_a_deferred_sensor(finished: str) -> None:
    resume = stored("deferral_kwargs", kling_task_id=finished, deadline=time.time() + 60)
    wait = KlingTaskSensor(task_id="wait", kling_task_id=finished)
    task = wait.execute_complete({}, stored("trigger_event", kling_task_id=finished), **resume)
    assert (task["kling_task_id"], task["status"]) == (finished, "succeed")


def test_a_sensor_that_the_trigger_started(finished: str) -> None:
    event = stored("start_trigger_event", kling_task_id=finished, deadline=time.time() + 60)
    assert KlingTaskSensor(task_id="wait", kling_task_id="not rendered").execute_complete({}, event)["images"]


@pytest.mark.parametrize("route", [None, ""])
def test_a_task_id_beside_which_there_is_no_route(route: Any, finished: str) -> None:
    assert KlingTaskSensor(task_id="wait", kling_task_id=finished, route=route).execute({})["images"]


class Store(dict[str, Any]):
    """As Airflow 3.3's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


def test_a_submission_record(finished: str, kling: Emulator, ti: Any) -> None:
    store = Store({KEY: stored("submission_record", kling_task_id=finished)})
    submit = KlingMultiImageToImageOperator(task_id="submit", **stored("input"))
    assert submit.execute({"ti": ti, "task_state_store": store}) == finished
    assert kling.ledger()["totals"]["created"] == 1
    assert store[KEY]["route"] == DEFAULT_ROUTE


def test_a_submission_record_of_an_intent_alone(kling: Emulator, ti: Any) -> None:
    record = stored("submission_record", kling_task_id=None, state="intended")
    submit = KlingMultiImageToImageOperator(task_id="submit", **stored("input"))
    submit.execute({"ti": ti, "task_state_store": Store({KEY: record})})
    [entry] = kling.ledger()["accounts"]["default"]["tasks"]
    assert entry["external_task_id"] == record["external_task_id"]


def test_the_fingerprint_of_a_request_record() -> None:
    assert fingerprint(stored("request_record")) == stored("submission_record")["fingerprint"]
    assert fingerprint(stored("request_record", route=DEFAULT_ROUTE)) == stored("submission_record")["fingerprint"]


def test_a_finished_task_in_xcom(finished: str, tmp_path: Path) -> None:
    task = stored(
        "finished_task", kling_task_id=finished, images=[]
    )  # its URLs are of another run, so they are asked for
    archive = KlingArchiveImagesOperator(task_id="archive", task=task, destination=tmp_path.as_uri())
    assert len(archive.execute({})["images"]) == 1
