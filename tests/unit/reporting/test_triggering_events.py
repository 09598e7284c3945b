"""Which manifests a run that Asset events have started is about, as Airflow hands the events on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.reporting.triggering_events import manifests_of_run, share_of_run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAG_ID = "review"


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def run(name: str, start: float, dag_id: str = DAG_ID) -> Any:
    return SimpleNamespace(dag_id=dag_id, run_id=name, start_date=at(start))


def event(second: float, manifest: str | None, *runs: Any) -> Any:
    extra = {"manifest": manifest} if manifest else None
    return SimpleNamespace(timestamp=at(second), extra=extra, created_dagruns=list(runs))


def handed_over(events: Sequence[Any]) -> list[Any]:
    """As ``triggering_asset_events`` has them: without the runs."""
    return [SimpleNamespace(timestamp=one.timestamp, extra=one.extra) for one in events]


def share(mine: Sequence[Any], before: Sequence[Any] = (), since: Sequence[Any] = (), **taken: list[str]) -> list[str]:
    return share_of_run(DAG_ID, "this", handed_over(mine), before, since, taken.get)


def test_the_events_that_airflow_has_handed_over() -> None:
    assert share([event(0, "a"), event(1, "b"), event(2, None), event(3, "a")]) == ["a", "b"]


def test_what_came_until_the_run_began_is_taken_at_once() -> None:
    assert share([event(0, "a")], since=[event(0.4, "b"), event(1.2, "c")]) == ["a", "b", "c"]


def test_what_the_previous_run_has_taken_is_left_out() -> None:
    previous = run("previous", start=2)
    mine = [event(1, "b"), event(2.5, "c")]
    assert share(mine, before=[event(0, "a", previous)], previous=["a", "b"]) == ["c"]


def test_what_the_previous_run_has_not_seen_is_not_left_out() -> None:
    previous = run("previous", start=2)
    mine = [event(1, "b"), event(2.5, "c")]
    assert share(mine, before=[event(0, "a", previous)], previous=["a"]) == ["b", "c"]


def test_a_previous_run_that_has_not_decided_will_leave_them() -> None:
    assert share([event(1, "b")], before=[event(0, "a", run("previous", start=2))]) == ["b"]


def test_an_archive_that_says_so_again_is_asked_about_again() -> None:
    previous = run("previous", start=2)
    assert share([event(60, "a")], before=[event(0, "a", previous)], previous=["a"]) == ["a"]


def test_what_the_next_run_was_handed_is_its_own_until_it_has_left_it() -> None:
    later = run("later", start=5)
    since = [event(0.4, "b", later)]
    assert share([event(0, "a")], since=since) == ["a"]
    assert share([event(0, "a")], since=since, later=["b"]) == ["a"]
    assert share([event(0, "a")], since=since, later=[]) == ["a", "b"], "this run, cleared, takes what it took before"


def test_a_run_that_was_cleared_much_later_takes_nothing_that_another_took_early() -> None:
    early, late = run("early", start=12), run("late", start=22)
    since = [event(10, "b", early), event(11, "c", late)]
    assert share([event(0, "a")], since=since, early=["b", "c"], late=[]) == ["a"]


def test_runs_of_other_dags_take_nothing_away() -> None:
    other = run("other", start=5, dag_id="another_dag")
    assert share([event(0, "a", other)], before=[event(-1, "z", other)], since=[event(1, "b", other)], other=["b"]) == [
        "a",
        "b",
    ]


class History:
    """Answers as ``inlet_events[asset]`` of Airflow 3.1 does: both bounds are inclusive."""

    def __init__(self, events: Sequence[Any]) -> None:
        self._events = sorted(events, key=lambda event: event.timestamp)

    def after(self, moment: str) -> History:
        return History([event for event in self._events if event.timestamp >= datetime.fromisoformat(moment)])

    def before(self, moment: str) -> History:
        return History([event for event in self._events if event.timestamp <= datetime.fromisoformat(moment)])

    def ascending(self, ascending: bool) -> History:
        assert not ascending
        return self

    def limit(self, count: int) -> list[Any]:
        return self._events[-count:]

    def __iter__(self) -> Any:
        return iter(self._events)


@dataclass
class Scheduler:
    """Airflow's scheduler as 3.3.2 makes runs of events, and the runs' tasks, which decide in any order.

    :param starts: how long after the scheduler has made a run it starts, in seconds
    """

    events: list[Any]
    starts: float
    runs: list[Any] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=dict)
    mine: dict[str, list[Any]] = field(default_factory=dict)

    def make_run(self, asked: float, now: float, floor: float) -> None:
        made = run(f"run{len(self.runs)}", start=now + self.starts)
        self.runs.append(made)
        self.mine[made.run_id] = [one for one in self.events if at(floor) < one.timestamp <= at(asked)]
        for one in self.mine[made.run_id]:
            one.created_dagruns.append(made)

    def decide(self, made: Any) -> None:
        self.taken[made.run_id] = manifests_of_run(
            {
                "triggering_asset_events": {"asset": handed_over(self.mine[made.run_id])},
                "dag_run": made,
                "ti": SimpleNamespace(task_id="archived", xcom_pull=lambda task_ids, run_id: self.taken.get(run_id)),
                "inlet_events": {"asset": History(self.events)},
            },  # type: ignore[arg-type]
            "asset",  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("order", ["as they come", "each at once", "the last one first"])
@pytest.mark.parametrize("loop", [0.3, 1.1, 4.0])
@pytest.mark.parametrize("starts", [0.0, 0.7, 3.0])
def test_each_event_is_taken_by_one_run_whatever_the_timing(order: str, loop: float, starts: float) -> None:
    events = [event(second, f"m{second}") for second in (0, 0.1, 0.2, 1, 1.05, 1.3, 2, 3.9, 4, 4.2, 9, 9.01, 9.4, 30)]
    scheduler = Scheduler(events, starts)
    asked, floor = None, -1.0
    pending = sorted((one.timestamp - NOON).total_seconds() for one in events)
    while pending or asked is not None:
        asked = pending.pop(0) if asked is None else asked
        now = asked + loop  # until then nobody else is heard
        pending = [second for second in pending if second > now]
        scheduler.make_run(asked, now, floor)
        if order == "each at once":
            scheduler.decide(scheduler.runs[-1])
        asked, floor = None, asked
    if order != "each at once":
        for made in scheduler.runs if order == "as they come" else reversed(scheduler.runs):
            scheduler.decide(made)
    taken = [manifest for manifests in scheduler.taken.values() for manifest in manifests]
    assert sorted(taken) == sorted(one.extra["manifest"] for one in events)


class Broken:
    """What 3.3.2 answers while a run that an event is handed to is queued."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("API_SERVER_ERROR")


def test_the_last_try_takes_what_it_was_handed_where_airflow_cannot_tell_of_the_others() -> None:
    def context(try_number: int) -> Any:
        return {
            "triggering_asset_events": {"asset": [event(0, "a")]},
            "dag_run": run("this", start=1),
            "ti": SimpleNamespace(task_id="archived", xcom_pull=None, try_number=try_number, max_tries=2),
            "inlet_events": {"asset": Broken()},
        }

    with pytest.raises(RuntimeError):
        manifests_of_run(context(2), "asset")  # type: ignore[arg-type]
    assert manifests_of_run(context(3), "asset") == ["a"]  # type: ignore[arg-type]


def test_a_run_that_was_started_by_hand_has_no_events() -> None:
    assert manifests_of_run({"triggering_asset_events": {}}, "asset") == []  # type: ignore[typeddict-item,arg-type]
