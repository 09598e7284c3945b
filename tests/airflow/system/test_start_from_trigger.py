"""Tests sensors that start in the triggerer of a real Airflow: they need a worker only when the generation fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from deploy.local.samples import draw_samples
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

ALONE, MAPPED, FAILING = "wait", "mapped.wait[0]", "mapped.wait[1]"
GOOD, DRAGON, ENDLESS = "default_good", "default_failing", "default_endless"


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], kling: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    kling.fault(action="fail_task", match={"prompt": "dragon"}, message="the dragon is on strike")
    kling.fault(on="query", match={"prompt": "an endless mug"}, action="unknown_status", times=10_000)
    return run_dag(
        "kling_start_from_trigger",
        references=[str(samples["mug"]), str(samples["plant"])],
        destination=tmp_path_factory.mktemp("archive").as_uri(),
    )


@pytest.fixture(scope="module")
def waits(run: Run) -> dict[str, dict[str, Any]]:
    return run.instances()


@pytest.mark.parametrize("name", [ALONE, MAPPED, f"{GOOD}.wait"])
def test_a_wait_that_succeeds_never_sees_a_worker(name: str, run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits[name]["state"] == "success"
    assert "deferred" in run.history[name]
    assert not {"queued", "running"} & set(run.history[name])
    assert waits[name]["queued_when"] is None
    assert not waits[name]["hostname"]
    assert waits[name]["pid"] is None


def test_its_xcom_is_the_finished_task(run: Run) -> None:
    for task_id, submit, map_index in (("wait", "submit", -1), ("mapped.wait", "mapped.submit", 0)):
        finished = run.xcom(task_id, map_index)
        assert finished["kling_task_id"] == run.xcom(submit, map_index)
        assert finished["status"] == "succeed"
        assert finished["images"][0]["url"].startswith("http")


def test_a_failure_resumes_on_a_worker_and_says_why(run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits[FAILING]["state"] == "failed"
    assert waits[FAILING]["hostname"]
    assert "the dragon is on strike" in run.log(FAILING)


# --- the default of the groups, beside groups that wait from a worker ------------------------------------------------


def of_worker(name: str) -> str:
    return name.replace("default", "worker", 1)


@pytest.mark.parametrize("group", [GOOD, DRAGON, ENDLESS])
@pytest.mark.parametrize("task", ["submit", "wait", "archive"])
def test_it_ends_as_a_wait_from_a_worker_does(group: str, task: str, waits: dict[str, dict[str, Any]]) -> None:
    ours, theirs = waits[f"{group}.{task}"], waits[f"{of_worker(group)}.{task}"]
    assert (ours["state"], ours["try_number"]) == (theirs["state"], theirs["try_number"])


def test_what_became_of_them(waits: dict[str, dict[str, Any]]) -> None:
    ends = {group: (waits[f"{group}.wait"]["state"], waits[f"{group}.wait"]["try_number"]) for group in (GOOD, DRAGON)}
    assert ends == {GOOD: ("success", 1), DRAGON: ("failed", 2)}
    assert waits[f"{ENDLESS}.wait"]["state"] == "failed"


@pytest.mark.parametrize(("group", "words"), [(DRAGON, "the dragon is on strike"), (ENDLESS, "after 4 s (timeout)")])
def test_a_failure_and_a_timeout_say_the_same(group: str, words: str, run: Run) -> None:
    said = []
    for name in (group, of_worker(group)):
        sentences = re.findall(rf'[^"]*{re.escape(words)}[^"]*', run.log(f"{name}.wait"))
        said.append(sentences[-1].replace(run.xcom(f"{name}.submit"), "ID"))
    assert said[0] == said[1]


def test_what_is_handed_on_is_the_same(run: Run) -> None:
    for task in ("wait", "archive"):
        ours, theirs = run.xcom(f"{GOOD}.{task}"), run.xcom(f"{of_worker(GOOD)}.{task}")
        assert shape(ours) == shape(theirs)
    assert len(run.xcom(f"{GOOD}.archive")["images"]) == 2


def shape(value: Any) -> Any:
    """Return the names and kinds in an XCom, whose values are those of another generation."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value)


def test_who_begins_on_a_worker_is_told_why(run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits["with_callback.wait"]["state"] == "success"
    assert waits["with_callback.wait"]["hostname"]
    said = "The wait begins on a worker: start_from_trigger does not go with on_success_callback"
    assert run.log("with_callback.wait").count(said) == 1
    assert "wait was called" in run.log("with_callback.wait")
    for name in ("worker_good.wait", f"{GOOD}.wait", f"{DRAGON}.wait"):
        assert "The wait begins on a worker" not in run.log(name)
