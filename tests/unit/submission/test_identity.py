"""The identity that Kling sees, and the fingerprint of an input."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.submission.identity import Identity, fingerprint, reference_queries

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)


def identity(*, retries: int = 2, base: str | None = None, **changes: Any) -> Identity:
    run = changes.pop("run", {})
    deployment = changes.pop("deployment", "")
    given = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 2, "try_number": 1, **changes}
    dag_run = SimpleNamespace(**{"start_date": NOW, "clear_number": 0, "run_after": NOW, **run})
    context: Any = {"ti": SimpleNamespace(**given), "dag_run": dag_run}
    made = Identity.of(context, retries=retries, base=base, deployment=deployment)
    assert made is not None
    return made


def test_outside_of_airflow_there_is_none() -> None:
    assert Identity.of({}, retries=0, base=None) is None


def test_it_is_the_same_for_all_tries_of_a_round() -> None:
    first, second = identity(), identity(try_number=2)
    assert first.derive(1).text == second.derive(1).text
    assert (first.first_try, second.first_try) == (True, False)
    assert re.fullmatch(r"airflow-[0-9a-f]{32}-2-1", first.derive(1).text)


@pytest.mark.parametrize(
    "other",
    [
        {"deployment": "staging"},
        {"run": {"start_date": NOW + timedelta(microseconds=1)}},
        {"dag_id": "e"},
        {"run_id": "s"},
        {"task_id": "u"},
        {"map_index": 0},
        {"max_tries": 5, "try_number": 4},
    ],
    ids=str,
)
def test_another_instance_or_round_has_another(other: dict[str, Any]) -> None:
    assert identity().derive(1).text != identity(**other).derive(1).text


def test_each_attempt_has_another() -> None:
    assert len({identity().derive(attempt).text for attempt in (1, 2, 3)}) == 3


@pytest.mark.parametrize(
    ("max_tries", "attempt", "expected"), [(2, 1, "mine"), (2, 2, "mine-2-2"), (5, 1, "mine-5-1"), (5, 2, "mine-5-2")]
)
def test_an_id_of_the_users_own_is_used_as_it_is_once(max_tries: int, attempt: int, expected: str) -> None:
    cleared = {"clear_number": 1 if max_tries > 2 else 0}
    made = identity(base="mine", max_tries=max_tries, run=cleared)
    assert made.derive(attempt) == (expected, "given")
    if expected == "mine":
        assert made.draw(attempt) == ("mine", "given")
    else:
        assert re.fullmatch(rf"{expected}-[0-9a-f]{{16}}", made.draw(attempt).text)


def test_what_is_drawn_nobody_else_has() -> None:
    drawn = {identity().draw(1) for _ in range(100)}
    assert len(drawn) == 100
    assert all(re.fullmatch(r"airflow-[0-9a-f]{32}-2-1", one.text) and one.kind == "nonce" for one in drawn)


def test_lowered_retries_are_no_clear() -> None:
    made = identity(retries=1, max_tries=4, try_number=3, base="mine")
    assert made.first_round
    assert made.derive(1).text == "mine"
    assert identity(retries=1, max_tries=4).derive(1) == identity(retries=4, max_tries=4).derive(1)


@pytest.mark.parametrize(
    ("changes", "cleared"),
    [
        ({}, False),
        ({"try_number": 2}, False),
        ({"try_number": 2, "max_tries": 3}, True),
        ({"try_number": 2, "run": {"clear_number": 1}}, True),
        ({"try_number": 1, "run": {"clear_number": 1}}, False),
    ],
    ids=str,
)
def test_a_clear_shows(changes: dict[str, Any], cleared: bool) -> None:
    assert identity(**changes).cleared is cleared


def test_the_folder_of_the_record_is_the_same_for_all_tries_and_rounds() -> None:
    first = identity()
    later = identity(try_number=4, max_tries=5, run={"clear_number": 1, "start_date": NOW + timedelta(hours=1)})
    assert first.key == later.key
    others = [{"deployment": "x"}, {"dag_id": "e"}, {"map_index": 1}, {"run": {"run_after": NOW + timedelta(hours=1)}}]
    assert first.key not in {identity(**other).key for other in others}


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


def queries(*urls: str) -> list[str]:
    route = find_route(DEFAULT_ROUTE)
    described = [{"source": "url" if "://" in url else "file"} for url in urls]
    return reference_queries(route, route.request.parse({"subject_images": list(urls)}), described)


def of_url(url: str) -> str:
    return fingerprint({"references": [{"uri": url.partition("?")[0]}]}, queries(url))


A = "https://h.example/a.png"
SIGNED = [
    ("X-Amz-Signature=1&x-amz-date=2", "X-Amz-Signature=3&X-AMZ-Date=4"),
    ("X-Goog-Signature=1&X-Goog-Expires=2", "X-Goog-Signature=3&X-Goog-Expires=4"),
    ("AWSAccessKeyId=1&Signature=2&Expires=3", "AWSAccessKeyId=4&Signature=5&Expires=6"),
    ("Key-Pair-Id=1&Policy=2&Signature=3", "Key-Pair-Id=4&Policy=5&Signature=6"),
    ("sig=1&se=2&sp=r&sv=3&sr=b&st=4&spr=https&skoid=5", "sig=6&se=7&sp=r&sv=8&sr=b&st=9&spr=https&skoid=0"),
    ("OSSAccessKeyId=1&Signature=2&Expires=3&security-token=4", "OSSAccessKeyId=5&Signature=6&Expires=7"),
    ("q-sign-algorithm=sha1&q-ak=1&q-key-time=2&q-signature=3", "q-sign-algorithm=sha1&q-ak=4&q-key-time=5"),
]


@pytest.mark.parametrize(("once", "again"), SIGNED, ids=lambda value: value[:12])
@pytest.mark.parametrize("rest", ["", "product=1&", "versionId=7&"])
def test_a_new_signature_is_the_same_input(once: str, again: str, rest: str) -> None:
    assert of_url(f"{A}?{rest}{once}") == of_url(f"{A}?{rest}{again}") == of_url(f"{A}?{rest}".rstrip("?&"))


@pytest.mark.parametrize("name", ["product", "id", "v", "versionId", "w", "token", "file", "signature_of", "expiry"])
def test_any_other_parameter_is_another_input(name: str) -> None:
    assert len({of_url(f"{A}?{name}=1"), of_url(f"{A}?{name}=2"), of_url(A)}) == 3


def test_a_query_goes_with_its_reference() -> None:
    two = [{"uri": A}, {"uri": A}]
    assert fingerprint({"references": two}, queries(f"{A}?p=1", A)) != fingerprint(
        {"references": two}, queries(A, f"{A}?p=1")
    )
    assert queries("iVBORw0KGgo=", f"{A}?p=1") == ["", "p=1"]


def test_a_url_that_was_signed_here_says_nothing_of_the_input() -> None:
    route = find_route(DEFAULT_ROUTE)
    request = route.request.parse({"subject_images": [f"{A}?new-kind-of-signature=1", "iVBORw0KGgo="]})
    assert reference_queries(route, request, [{"source": "archive"}, {"source": "bytes"}]) == ["", ""]
