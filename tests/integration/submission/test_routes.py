"""The promises about money hold for a route of images and one of videos: a lost answer, a duplicate, a 5xx, a kill."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from airflow_kling.api.client import KlingClient
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingServerError, KlingSubmissionError
from airflow_kling.operators import find_operator
from tests.integration.submission.test_submission import TaskRun, airflow_of, ledger, paid

__all__ = ["airflow_of"]  # a fixture

ROUTES: dict[str, dict[str, Any]] = {
    "image-generation": {"prompt": "a shoe", "n": 2},
    "image-to-video": {"prompt": "slow turn", "duration": "5"},
}
pytestmark = [pytest.mark.parametrize("route", ROUTES), pytest.mark.parametrize("gateway", ["official", "cometapi"])]


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may see it."""


@pytest.fixture
def task(route: str, gateway: str, airflow_of: Any, png: bytes) -> TaskRun:
    fields = dict(ROUTES[route])
    if route == "image-to-video":
        fields["image"] = base64.b64encode(png).decode()
    made: TaskRun = airflow_of(
        "production", layer="task state", gateway=gateway, operator=find_operator(route), **fields
    )
    return made


def adopts(task: TaskRun, gateway: str, emulator: Emulator, route: str) -> None:
    """The next try adopts what exists where the gateway can be asked, and stops without paying again where not."""
    if gateway == "official":
        made = task.run()
        assert made == ledger(emulator)[0]["task_id"]
    else:
        with pytest.raises(KlingSubmissionError, match="A paid generation may exist under external_task_id"):
            task.run()
    assert paid(emulator) == 1
    assert ledger(emulator)[0]["route"] == route


@pytest.mark.parametrize("fault", [{"action": "drop_after"}, {"action": "error_after", "code": 5000}], ids=str)
def test_a_lost_answer(fault: dict[str, Any], task: TaskRun, gateway: str, emulator: Emulator, route: str) -> None:
    emulator.faults.add(on="create", times=1, **fault)
    if gateway == "cometapi":  # the next try finds out that the id is taken, and no more
        with pytest.raises(KlingSubmissionError):
            task.run()
    adopts(task, gateway, emulator, route)


def test_killed_after_the_post(
    task: TaskRun, gateway: str, emulator: Emulator, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = KlingClient.create

    def killed(*args: Any, **kwargs: Any) -> Any:
        create(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(KlingClient, "create", killed)
        with pytest.raises(Killed):
            task.run()
    adopts(task, gateway, emulator, route)


def test_a_5xx_that_created_nothing_is_paid_once_by_the_next_try(
    task: TaskRun, gateway: str, emulator: Emulator, route: str
) -> None:
    emulator.faults.add(on="create", action="error", code=5001, times=1)
    task.fields["submit_timeout"] = 0
    with pytest.raises(KlingServerError):
        task.run()
    assert paid(emulator) == 0
    assert task.run() == ledger(emulator)[0]["task_id"]
    assert paid(emulator) == 1


def test_an_id_that_another_run_has_used_already(task: TaskRun, gateway: str, emulator: Emulator, route: str) -> None:
    task.fields["external_task_id"] = "daily-hero"
    task.run()
    task.make_again()
    with pytest.raises(KlingSubmissionError, match="daily-hero"):
        task.run()
    assert paid(emulator) == 1
