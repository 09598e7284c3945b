"""Random crash schedules against a model of the API: never two live paid generations for one round of work.

A process may die before or after any write of the record and any call to the API; an answer may be lost, be an error of
the server, or come after the task was made; a generation may end, well or badly, between two tries.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_kling.api.gateways import COMETAPI, OFFICIAL, Gateway
from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingBadRequestError,
    KlingConnectionError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingSubmissionError,
    KlingTaskNotFoundError,
)
from airflow_kling.submission.identity import Identity
from airflow_kling.submission.record import RecordStore
from airflow_kling.submission.submitter import Submission

REQUEST = MultiImageToImageRequest(subject_images=["https://example.com/a.png", "https://example.com/b.png"])

GATEWAYS = {
    "refuses and finds": OFFICIAL,
    "refuses only": COMETAPI,
    "finds only": replace(OFFICIAL, refuses_duplicates=False, has_list=False),
    "lists only": replace(OFFICIAL, refuses_duplicates=False, finds_external_ids=False),
    "neither": replace(COMETAPI, refuses_duplicates=False),
}


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may see it."""


@dataclass
class World:
    """The API's own books, the record's storage, and the schedule of what goes wrong."""

    gateway: Gateway
    mishaps: list[str]
    tasks: list[KlingTask] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def mishap(self) -> str:
        return self.mishaps.pop(0) if self.mishaps else "none"

    def live(self) -> list[KlingTask]:
        return [task for task in self.tasks if task.status != "failed"]

    def end_one(self, status: str) -> None:
        for position, task in enumerate(self.tasks):
            if task.status == "submitted":
                self.tasks[position] = task.model_copy(update={"status": status})


class Store:
    """``task_state_store``: each call may be the last one of the process."""

    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, key: str) -> Any:
        return self.world.state.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        mishap = self.world.mishap()
        if mishap == "killed before":
            raise Killed
        if mishap == "store error":
            raise RuntimeError("the API server of Airflow is away")
        self.world.state[key] = value
        if mishap == "killed after":
            raise Killed


class Client:
    """The API as documented, with mishaps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gateway = world.gateway

    def create(self, request: MultiImageToImageRequest, *, route: str) -> KlingTask:
        mishap = self.world.mishap()
        if mishap == "killed before":
            raise Killed
        if mishap == "refused":
            raise KlingRateLimitError("full", http_status=429, code="1303")
        if mishap == "not sent":
            raise KlingConnectionError("refused", request_sent=False)
        if mishap == "lost before":
            raise KlingConnectionError("reset", request_sent=True)
        if self.gateway.refuses_duplicates and any(
            task.external_task_id == request.external_task_id for task in self.world.tasks
        ):
            raise KlingBadRequestError("duplicate", http_status=400, code="1201")
        task = KlingTask(kling_task_id=str(len(self.world.tasks)), external_task_id=request.external_task_id)
        self.world.tasks.append(task)
        if mishap == "killed after":
            raise Killed
        if mishap == "lost after":
            raise KlingConnectionError("reset", request_sent=True)
        if mishap == "error after":
            raise KlingServerError("oops", http_status=500, code="5000")
        return task

    def get(self, task_id: str, *, route: str) -> KlingTask:
        mishap = self.world.mishap()
        if mishap.startswith("killed"):
            raise Killed
        if mishap in ("lost before", "lost after"):
            raise KlingConnectionError("reset", request_sent=True)
        if mishap == "refused":
            raise KlingRateLimitError("too many requests", http_status=429, code="1302")
        for task in self.world.tasks:
            if task.kling_task_id == task_id or (self.gateway.finds_external_ids and task.external_task_id == task_id):
                return task
        raise KlingTaskNotFoundError("unknown", http_status=404, code="1203")

    def list(self, *, page: int, page_size: int, route: str) -> list[KlingTask]:
        if self.world.mishap() == "refused":
            raise KlingRateLimitError("too many requests", http_status=429, code="1302")
        newest_first = self.world.tasks[::-1]
        return newest_first[(page - 1) * page_size : page * page_size]


def one_try(world: World, number: int, *, keeps: bool, on_unknown: str = "fail") -> KlingTask:
    """As the operator does: what Kling refuses for now is submitted again in the same try."""
    refused_attempt = None
    while True:
        submission = Submission(
            client=Client(world),  # type: ignore[arg-type]
            request=REQUEST,
            identity=Identity("dag", "run", "task", -1, 9, True, first_try=number == 1),
            records=RecordStore(Store(world) if keeps else None),
            fingerprint="f",
            refused_attempt=refused_attempt,
            on_unknown=on_unknown,  # type: ignore[arg-type]
            clock=itertools.count(1.0).__next__,
        )
        try:
            return submission.run()
        except KlingRateLimitError:
            refused_attempt = submission.refused_attempt


MISHAPS = st.sampled_from(
    [
        *["none"] * 6,
        "killed before",
        "killed after",
        "store error",
        "refused",
        "not sent",
        "lost before",
        "lost after",
        "error after",
    ]
)
TRIES = st.lists(st.tuples(st.lists(MISHAPS, max_size=8), st.sampled_from(["", "", "succeed", "failed"])), max_size=6)


@pytest.mark.parametrize("keeps", [True, False], ids=["a record", "no record"])
@pytest.mark.parametrize("kind", GATEWAYS)
@settings(max_examples=400, deadline=None)
@given(schedule=TRIES)
def test_one_round_pays_once(kind: str, keeps: bool, schedule: list[tuple[list[str], str]]) -> None:
    world = World(GATEWAYS[kind], [])
    outcome: Any = None
    for number, (mishaps, ending) in enumerate([*schedule, ([], "")], start=1):
        world.mishaps = list(mishaps)
        try:
            outcome = one_try(world, number, keeps=keeps)
        except (KlingError, RuntimeError, Killed) as error:
            outcome = error
        assert len(world.live()) <= 1, world.tasks
        if isinstance(outcome, KlingError) and not outcome.retryable:
            break  # Airflow fails the task for good
        if ending:
            world.end_one(ending)
    assert_told_the_truth(world, outcome)


def assert_told_the_truth(world: World, outcome: Any) -> None:
    """The last try had no mishap: it hands over the one generation, or fails loudly and names the money."""
    if isinstance(outcome, KlingTask):
        assert [outcome.kling_task_id] == [task.kling_task_id for task in world.live()]
        return
    assert isinstance(outcome, KlingSubmissionError)
    assert "A paid generation may exist" in str(outcome)
    assert outcome.external_task_id in str(outcome)


@given(schedule=TRIES)
def test_where_the_api_can_be_asked_a_generation_is_always_handed_over(schedule: list[tuple[list[str], str]]) -> None:
    world = World(OFFICIAL, [])
    for number, (mishaps, _) in enumerate([*schedule, ([], "")], start=1):
        world.mishaps = list(mishaps)
        try:
            outcome: Any = one_try(world, number, keeps=True)
        except (KlingError, RuntimeError, Killed) as error:
            outcome = error
        assert getattr(outcome, "retryable", True), "a retry is never given up"
    assert isinstance(outcome, KlingTask)


@given(schedule=TRIES)
def test_resubmit_never_ends_in_a_stop(schedule: list[tuple[list[str], str]]) -> None:
    world = World(GATEWAYS["neither"], [])
    for number, (mishaps, _) in enumerate([*schedule, ([], "")], start=1):
        world.mishaps = list(mishaps)
        posts_before = len(world.tasks)
        try:
            outcome: Any = one_try(world, number, keeps=True, on_unknown="resubmit")
        except (KlingError, RuntimeError, Killed) as error:
            outcome = error
        assert getattr(outcome, "retryable", True), "a retry is never given up"
        assert len(world.tasks) <= posts_before + 1  # one POST a try
    assert isinstance(outcome, KlingTask)
