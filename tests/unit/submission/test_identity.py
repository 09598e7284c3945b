"""The identity that Kling sees, and the fingerprint of an input."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.submission.identity import Identity, fingerprint


def identity(*, retries: int = 2, base: str | None = None, **changes: Any) -> Identity:
    given = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 2, "try_number": 1, **changes}
    context: Any = {"ti": SimpleNamespace(**given)}
    made = Identity.of(context, retries=retries, base=base)
    assert made is not None
    return made


def test_outside_of_airflow_there_is_none() -> None:
    assert Identity.of({}, retries=0, base=None) is None


def test_it_is_the_same_for_all_tries_of_a_round() -> None:
    first, second = identity(), identity(try_number=2)
    assert first.external_task_id(1) == second.external_task_id(1)
    assert (first.first_try, second.first_try) == (True, False)
    assert re.fullmatch(r"airflow-[0-9a-f]{32}-2-1", first.external_task_id(1))


@pytest.mark.parametrize(
    "other",
    [{"dag_id": "e"}, {"run_id": "s"}, {"task_id": "u"}, {"map_index": 0}, {"max_tries": 5, "try_number": 4}],
    ids=str,
)
def test_another_instance_or_round_has_another(other: dict[str, Any]) -> None:
    assert identity().external_task_id(1) != identity(**other).external_task_id(1)


def test_each_attempt_has_another() -> None:
    assert len({identity().external_task_id(attempt) for attempt in (1, 2, 3)}) == 3


@pytest.mark.parametrize(
    ("max_tries", "attempt", "expected"), [(2, 1, "mine"), (2, 2, "mine-2-2"), (5, 1, "mine-5-1"), (5, 2, "mine-5-2")]
)
def test_an_id_of_the_users_own_is_used_as_it_is_once(max_tries: int, attempt: int, expected: str) -> None:
    assert identity(base="mine", max_tries=max_tries).external_task_id(attempt) == expected


INPUT: dict[str, Any] = {
    "prompt": "a cat",
    "n": 1,
    "external_task_id": "airflow-1",
    "gateway": "cometapi",
    "references": [{"uri": "https://h.example/a.png"}, {"uri": "s3://b/c.png", "sha256": "00"}],
}


@pytest.mark.parametrize(
    "same",
    [
        {"external_task_id": "airflow-2"},
        {"route": DEFAULT_ROUTE},
        {"references": [INPUT["references"][0], {"uri": "s3://b/moved.png", "sha256": "00"}]},
    ],
    ids=str,
)
def test_what_does_not_change_an_input(same: dict[str, Any]) -> None:
    assert fingerprint({**INPUT, **same}) == fingerprint(INPUT)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a dog"},
        {"gateway": "official"},
        {"route": "text-to-video"},
        {"references": INPUT["references"][::-1]},
        {"references": [INPUT["references"][0], {"uri": "s3://b/c.png", "sha256": "01"}]},
    ],
    ids=str,
)
def test_what_changes_an_input(other: dict[str, Any]) -> None:
    assert fingerprint({**INPUT, **other}) != fingerprint(INPUT)
