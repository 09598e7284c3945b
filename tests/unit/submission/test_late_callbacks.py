"""Random schedules with a receiver: callbacks come late, twice, out of order, forged, or never.

A note saves what was paid for where the API cannot be asked; it is never a reason to pay again, nor to adopt what is
another's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_kling.api.tasks import KlingTask
from tests.unit.submission.test_property import OTHER, SKEWS, TRY, disturb, finish, play
from tests.unit.submission.world import GATEWAYS, Airflow, Notes, World

CALLBACK = st.tuples(st.sampled_from(["callback", "callback", "forged"]), st.integers(0, 1), st.integers(0, 5))
# A refusal for a reason that Kling does not say is final where it cannot be asked: most likely a field is wrong, and a
# retry for the sake of a callback would hide that.
CLEAR_TRY = TRY.filter(lambda event: "sent twice, unsaid" not in event[2])
SCHEDULES = st.lists(st.one_of(TRY, TRY, CALLBACK, CALLBACK, OTHER), max_size=12)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("sparse", [False, True], ids=["told", "sparse"])
@pytest.mark.parametrize("layer", ["task state", "objects"])
@pytest.mark.parametrize("kind", GATEWAYS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=SCHEDULES, skew=SKEWS)
def test_two_airflows_with_a_receiver_each(
    kind: str, layer: str, sparse: bool, schedule: list[Any], skew: float
) -> None:
    world = World(GATEWAYS[kind], skew, sparse=sparse and not GATEWAYS[kind].has_list)
    airflows = [Airflow(world, name, layer, name, notes=Notes(world)) for name in ("production", "staging")]
    outcomes: list[Any] = [None, None]
    for event, who, what in schedule:
        airflow = airflows[who]
        if event in ("callback", "forged"):
            assert airflow.notes is not None
            # Where queries do not tell the external_task_id, only the token proves a callback: it cannot be forged.
            airflow.notes.deliver(what, forged=event == "forged" and not world.sparse)
        elif event != "try":
            disturb(world, airflow, event)
            if event in ("clear", "make again"):
                outcomes[who] = None
        elif outcomes[who] is None or getattr(outcomes[who], "retryable", not isinstance(outcomes[who], KlingTask)):
            outcomes[who] = play(world, airflow, what)
    for airflow, outcome in zip(airflows, outcomes, strict=True):
        finish(world, airflow, outcome)


@pytest.mark.parametrize("sparse", [False, True], ids=["told", "sparse"])
@pytest.mark.parametrize("layer", ["task state", "objects"])
@pytest.mark.parametrize("kind", GATEWAYS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(CLEAR_TRY, max_size=5))
def test_what_was_paid_for_is_handed_over_once_its_callback_came(
    kind: str, layer: str, sparse: bool, schedule: list[Any]
) -> None:
    world = World(GATEWAYS[kind], sparse=sparse and not GATEWAYS[kind].has_list)
    notes = Notes(world)
    airflow, outcome = Airflow(world, "production", layer, notes=notes), None
    for _, _, mishaps in [*schedule, ("try", 0, ())]:
        for position in range(len(world.undelivered)):
            notes.deliver(position)
        if isinstance(outcome, KlingTask):
            return
        outcome = play(world, airflow, mishaps)
        assert getattr(outcome, "retryable", True), "a retry is never given up"
    assert isinstance(outcome, KlingTask) or not world.live(airflow.unit)
