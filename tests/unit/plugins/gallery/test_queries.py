"""Which generations are found, on Airflow's own tables in a SQLite in memory; tests/integration asks over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import airflow
import pytest
from packaging.version import Version
from sqlalchemy.orm import Session

from airflow_kling.plugins.gallery.filters import PAGE_SIZE, Filters
from airflow_kling.plugins.gallery.rows import Identity, Row, Spend, TaskStates

if Version(airflow.__version__).release < (3, 1):
    pytest.skip("the gallery needs Airflow 3.1+", allow_module_level=True)

from airflow_kling.plugins.gallery.queries import MAX_IDS, find_page, find_rows, find_spend, find_states, find_value
from tests.unit.plugins.gallery import tables

START = datetime(2026, 1, 1, tzinfo=UTC)
BOTH = {"a", "b"}


def units(*, image: float = 0.0, video: float = 0.0, try_on: float = 0.0) -> dict[Any, float]:
    return {"image": image, "video": video, "try-on": try_on}


@pytest.fixture
def session() -> Iterator[Session]:
    engine = tables.database()
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def push(session: Session) -> Callable[..., Identity]:
    """``push("archive", "8334", value)``: an XCom of that kind, each a minute after the one before."""
    pushed: list[Identity] = []

    def push(kind: str, kling_task_id: str, value: Any = None, **where: Any) -> Identity:
        task_id = {"archive": "archive", "request": "submit"}[kind]
        place = {"dag_id": "a", "run_id": "run", "task_id": task_id, "map_index": -1, **where}
        timestamp = START + timedelta(minutes=len(pushed))
        tables.add_xcom(session, key=f"kling_{kind}_{kling_task_id}", value=value or {}, timestamp=timestamp, **place)
        pushed.append(Identity(**place, kling_task_id=kling_task_id))
        return pushed[-1]

    return push


@pytest.fixture
def run(session: Session) -> Callable[..., None]:
    """``run("a", "run", {"wait": ("KlingTaskSensor", "deferred")})``: a run with these task instances."""

    def run(dag_id: str, run_id: str, tasks: dict[str, tuple[str, str | None]], *, state: str = "running") -> None:
        place = {"dag_id": dag_id, "run_id": run_id}
        tables.add_run(session, **place, at=START, state=state)
        for task_id, (operator, of_task) in tasks.items():
            instance = {**place, "task_id": task_id, "map_index": -1}
            tables.add_instance(session, **instance, at=START, operator=operator, state=of_task)

    return run


def ids(rows: list[Row]) -> list[str]:
    return [row.identity.kling_task_id for row in rows]


def page(session: Session, readable: set[str] = BOTH, **filters: Any) -> list[str]:
    return ids(find_page(session, Filters(**filters), readable))


def test_a_page_has_the_newest_first_and_one_row_for_each_generation(session: Session, push: Any) -> None:
    waiting, submitted = push("request", "1", {"prompt": "x"}), push("request", "2")
    archived = push("archive", "2", {"images": []})
    assert [(row.identity, row.archived, row.value) for row in find_page(session, Filters(), BOTH)] == [
        (archived, True, {"images": []}),
        (waiting, False, {"prompt": "x"}),
    ]
    assert submitted != archived


def test_other_xcoms_are_no_generations(session: Session, push: Any) -> None:
    push("archive", "1")
    for key in (
        "return_value",
        "kling_task_id",
        "kling_archives",
        "kling_archivist_1",
        "klingXarchive_1",
        "Kling_archive_1",
    ):
        session.execute(tables.XCOM.update().values(key=key))
        assert page(session) == [], key


def test_a_page_has_its_size_and_goes_on_where_the_one_before_ended(session: Session, push: Any) -> None:
    for number in range(PAGE_SIZE + 3):
        push("archive", str(number))
    first, second = page(session), page(session, page=2)
    assert (len(first), second) == (PAGE_SIZE, ["2", "1", "0"])
    assert page(session, page=3) == []


def test_dags_that_may_not_be_read_are_left_out(session: Session, push: Any) -> None:
    push("archive", "1")
    push("archive", "2", dag_id="b")
    assert (page(session, {"a"}), page(session, {"b"}), page(session, set())) == (["1"], ["2"], [])
    assert page(session, {"a"}, dag_id="b") == []
    assert ids(find_rows(session, ["1", "2"], {"b"})) == ["2"]
    assert [one.dag_id for one in find_spend(session, Filters(), {"b"})] == ["b"]


def test_filters(session: Session, push: Any) -> None:
    push("archive", "1", {"asked": {"prompt": "A blue mug"}}, run_id="r 1")
    push("request", "2", {"prompt": "a red mug, 100 %"}, dag_id="b")
    assert page(session, dag_id="b") == page(session, text="RED") == page(session, text="100 %") == ["2"]
    assert page(session, run_id="r 1") == page(session, kling_task_id="1") == page(session, text="blue") == ["1"]
    assert page(session, text="%mug") == page(session, run_id="r") == []
    assert page(session, since="2026-01-01T00:01") == ["2"]
    assert page(session, until="2026-01-01T00:01") == ["1"]
    assert page(session, since="2026-01-01", until="2026-01-01") == ["2", "1"]


def test_a_run_id_whose_plus_became_a_space(session: Session, push: Any) -> None:
    push("archive", "1", run_id="manual__00+00")
    assert page(session, run_id="manual__00 00") == ["1"]


def test_a_task_has_what_it_submitted_returned_or_waits_for(session: Session, push: Any) -> None:
    push("request", "1")
    push("request", "2", run_id="other")
    place = {"dag_id": "a", "map_index": -1}
    returned = {"key": "return_value", "value": {"kling_task_id": "1"}, "timestamp": START}
    tables.add_xcom(session, **place, run_id="run", task_id="waited", **returned)
    tables.add_fields(session, {"kling_task_id": "2"}, **place, run_id="other", task_id="waits", at=START)
    assert page(session, task_id="submit") == ["2", "1"]
    assert page(session, task_id="submit", run_id="other") == page(session, task_id="waits") == ["2"]
    assert page(session, task_id="waited") == page(session, task_id="waited", map_index=-1) == ["1"]
    assert page(session, task_id="waited", map_index=0) == page(session, task_id="neither") == []


def test_spend_counts_what_was_generated(session: Session, push: Any) -> None:
    push("archive", "1", {"units": 8, "image_count": 2})
    push("archive", "2", {"units": "many", "image_count": None})
    push("request", "3", {"n": 2})
    push("archive", "4", {"units": 1.5, "image_count": 1}, dag_id="b")
    a, b = Spend("a", 3, 2, 2, 0, units(image=8.0)), Spend("b", 1, 1, 1, 0, units(image=1.5))
    assert find_spend(session, Filters(), BOTH) == find_spend(session, Filters(dag_id="b"), BOTH) == [a, b]
    assert find_spend(session, Filters(dag_id="b", run_id="run"), BOTH) == [b]


def test_units_of_each_pack_are_summed_apart(session: Session, push: Any) -> None:
    push("archive", "1", {"units": 16, "image_count": 1, "asked": {"route": "multi-image-to-image"}})
    push("archive", "2", {"units": 3, "video_count": 1, "asked": {"route": "image-to-video"}})
    push("archive", "3", {"units": 0.5, "video_count": 1, "route": "omni-video"})
    push("archive", "4", {"units": 1, "image_count": 1, "route": "virtual-try-on"})
    push("archive", "5", {"units": 8, "route": "no-such-route"})
    [spend] = find_spend(session, Filters(), BOTH)
    assert spend.units == units(image=24.0, video=3.5, try_on=1.0)
    assert spend.billed == spend.units
    [clips] = find_spend(session, Filters(route="omni-video"), BOTH)
    assert clips.billed == {"video": 0.5}


def test_where_nothing_was_billed_the_sum_is_of_images() -> None:
    assert Spend("a", 1, 0, 0, 0, units()).billed == {"image": 0.0}


def test_a_sum_that_is_infinite_is_none(session: Session, push: Any) -> None:
    for number in range(2):
        push("archive", str(number), {"units": 1.7e308, "image_count": 1})
    assert find_spend(session, Filters(), BOTH) == [Spend("a", 2, 2, 2, 0, units())]


def test_the_value_of_one_generation(session: Session, push: Any) -> None:
    one = push("archive", "1", {"x": 1})
    waiting = push("request", "2", {"y": 1}, map_index=3)
    assert find_value(session, one) == (True, {"x": 1})
    assert find_value(session, waiting) == (False, {"y": 1})
    other = {"dag_id": "b", "run_id": "r", "task_id": "t", "map_index": 0, "kling_task_id": "3"}
    for name, value in other.items():
        assert find_value(session, one._replace(**{name: value})) is None
    assert find_value(session, one._replace(run_id="run\0")) is None


def test_rows_by_id(session: Session, push: Any) -> None:
    push("request", "1")
    push("request", "2")
    archived = push("archive", "2")
    rows = find_rows(session, ["2", "1", "2", "3", "1\0"], BOTH)
    assert sorted(ids(rows)) == ["1", "2"]
    assert {row.identity for row in rows if row.archived} == {archived}
    assert ids(find_rows(session, [*map(str, range(100, 100 + MAX_IDS)), "1"], BOTH)) == []


def test_states_of_the_tasks_around_a_generation(session: Session, push: Any, run: Any) -> None:
    one, lost = push("request", "1"), push("request", "2", run_id="deleted")
    push("archive", "3", run_id="done")
    sensor, python = "KlingTaskSensor", "PythonOperator"
    run(
        "a", "run", {"submit": ("OurOwnSubclass", "success"), "wait": (sensor, "deferred"), "other": (python, "failed")}
    )
    run("b", "run", {"wait": (sensor, "failed")})
    assert find_states(session, find_page(session, Filters(), BOTH)) == {
        one: TaskStates("success", {"wait": "deferred"}, "running"),
        lost: TaskStates(None, {}, "running" if tables.OF_TRIES else None),  # there XComs are deleted with their run
    }
    assert find_states(session, []) == {}
