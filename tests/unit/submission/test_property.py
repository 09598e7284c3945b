"""Random schedules against a model of the API: no unit of work pays twice, and none adopts what is another's.

A process may die before or after any write of the record and any call to the API; an answer may be lost, be an error
of the server, or come after the task was made; a proxy may send a POST twice; the API's clock may be wrong; another
Airflow with the same DAG uses the account; runs are cleared, and deleted and made again; ``retries`` are lowered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingError
from tests.unit.submission.world import GATEWAYS, LAYERS, Airflow, Killed, World

MISHAPS = [
    *["none"] * 6,
    *("killed before", "killed after", "store error", "refused", "not sent"),
    *("lost before", "lost after", "error after"),
    *("sent twice", "sent twice, unsaid", "sent twice, full"),
]
TRY = st.tuples(st.just("try"), st.integers(0, 1), st.lists(st.sampled_from(MISHAPS), max_size=6))
OTHER = st.tuples(
    st.sampled_from(["succeed", "failed", "clear", "make again", "lower", "hours"]), st.integers(0, 1), st.just(())
)
SCHEDULES = st.lists(st.one_of(TRY, TRY, TRY, OTHER), max_size=10)
SKEWS = st.sampled_from([0.0, 0.0, 300.0, -300.0, 7200.0, -7200.0])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of tries would write some lines each."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def play(world: World, airflow: Airflow, mishaps: Any) -> Any:
    """One try of one Airflow, and the two promises."""
    world.mishaps = list(mishaps)
    try:
        outcome: Any = airflow.run_try()
    except (KlingError, RuntimeError, Killed) as error:
        outcome = error
    if isinstance(outcome, KlingTask):
        assert world.units[outcome.kling_task_id] == airflow.unit, "a foreign generation was adopted"
    assert len(world.live(airflow.unit)) <= 1, "paid twice"
    return outcome


def disturb(world: World, airflow: Airflow, event: str) -> None:
    if event in ("succeed", "failed"):
        world.end_one(event)
    elif event == "clear" and airflow.try_number:
        airflow.clear()
    elif event == "make again":
        airflow.make_again()
    elif event == "lower":
        airflow.retries = 1
    elif event == "hours":
        world.now += 7200


def finish(world: World, airflow: Airflow, outcome: Any) -> None:
    """The last try has no mishap: it hands over what was paid for, or fails loudly and names it."""
    if not isinstance(outcome, KlingTask) and getattr(outcome, "retryable", True):
        outcome = play(world, airflow, ())
    live = world.live(airflow.unit)
    if isinstance(outcome, KlingTask):
        assert {task.kling_task_id for task in live} <= {outcome.kling_task_id}  # it may have failed since
        return
    assert isinstance(outcome, KlingError)
    for task in live:
        assert repr(task.external_task_id) in str(outcome) or f"task {task.kling_task_id}" in str(outcome)


def run_schedule(world: World, airflows: list[Airflow], schedule: list[Any]) -> None:
    outcomes: list[Any] = [None, None]
    for event, who, mishaps in schedule:
        airflow = airflows[who]
        if event != "try":
            disturb(world, airflow, event)
            if event in ("clear", "make again"):
                outcomes[who] = None
        elif outcomes[who] is None or getattr(outcomes[who], "retryable", not isinstance(outcomes[who], KlingTask)):
            outcomes[who] = play(world, airflow, mishaps)  # else Airflow has no more tries
    for airflow, outcome in zip(airflows, outcomes, strict=True):
        finish(world, airflow, outcome)


@pytest.mark.parametrize("namespaces", [("production", "staging"), ("", "")], ids=["named", "of the same name"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", GATEWAYS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=SCHEDULES, skew=SKEWS)
def test_two_airflows_share_an_account(
    kind: str, layer: str, namespaces: tuple[str, str], schedule: list[Any], skew: float
) -> None:
    world = World(GATEWAYS[kind], skew)
    airflows = [
        Airflow(world, name, layer, namespace)
        for name, namespace in zip(("production", "staging"), namespaces, strict=True)
    ]
    run_schedule(world, airflows, schedule)


@pytest.mark.parametrize("own_id", ["daily-hero", "uuid"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", GATEWAYS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=SCHEDULES, second=SCHEDULES, skew=SKEWS)
def test_an_id_of_the_authors_own(kind: str, layer: str, own_id: str, first: Any, second: Any, skew: float) -> None:
    """Which two Airflows use, one after the other: at the same moment nothing could tell whose a generation is."""
    if layer == "none" and own_id == "uuid":
        pytest.skip("without a record nothing remembers what an earlier try rendered")
    world = World(GATEWAYS[kind], skew)
    for name, schedule in (("production", first), ("staging", second)):
        airflow = Airflow(world, name, layer, name, own_id)
        outcome: Any = None
        for event, _, mishaps in schedule:
            if event in ("succeed", "failed", "hours"):
                disturb(world, airflow, event)
            elif event == "try" and (outcome is None or getattr(outcome, "retryable", True)):
                if isinstance(outcome, KlingTask):
                    break
                outcome = play(world, airflow, mishaps)
        finish(world, airflow, outcome)
        world.now += 5


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(TRY, max_size=6))
def test_where_the_api_can_be_asked_a_generation_is_always_handed_over(schedule: list[Any]) -> None:
    for layer in ("task state", "objects"):
        world = World(GATEWAYS["refuses and finds"])
        airflow, outcome = Airflow(world, "production", layer), None
        for _, _, mishaps in [*schedule, ("try", 0, ())]:
            outcome = play(world, airflow, mishaps)
            assert getattr(outcome, "retryable", True), "a retry is never given up"
        assert isinstance(outcome, KlingTask)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(TRY, max_size=6))
def test_resubmit_never_ends_in_a_stop(schedule: list[Any]) -> None:
    world = World(GATEWAYS["neither"])
    airflow = Airflow(world, "production", "task state", on_unknown="resubmit")
    for _, _, mishaps in [*schedule, ("try", 0, ())]:
        posts_before = len(world.tasks)
        world.mishaps = list(mishaps)
        try:
            outcome: Any = airflow.run_try()
        except (KlingError, RuntimeError, Killed) as error:
            outcome = error
        assert getattr(outcome, "retryable", True), "a retry is never given up"
        assert len(world.tasks) <= posts_before + 1  # one POST a try
    assert isinstance(outcome, KlingTask)
