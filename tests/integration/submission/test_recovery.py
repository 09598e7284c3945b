"""Our own id in the account's list: "there is none" is said only of a list that was read to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_kling.api.auth import BearerAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.gateways import OFFICIAL
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.exceptions import KlingServerError
from airflow_kling.submission import recovery

NOW = 1_800_000_000.0
DAY = 86_400.0


def item(number: int, *, created: float = NOW, name: str | None = None) -> dict[str, Any]:
    return {
        "task_id": f"t{number}",
        "task_status": "processing",
        "task_info": {"external_task_id": name or f"other-{number}"},
        "created_at": round(created * 1000),
    }


@pytest.fixture
def search(raw_server: Any) -> Callable[..., tuple[str | None, int]]:
    """Search pages for "mine"; tells the id found and how many pages were read."""

    def run(*pages: list[Any], since: float = NOW - DAY) -> tuple[str | None, int]:
        bodies = [json.dumps({"code": 0, "data": page}).encode() for page in pages]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        url, requests = raw_server(*(head % len(body) + body for body in bodies))
        with KlingClient(BearerAuth("k"), base_url=url, gateway=OFFICIAL, sleep=pytest.fail, timeout=60) as client:
            found = recovery.search(client, "mine", route=DEFAULT_ROUTE, since=since)
        assert all(f"pageNum={number}&".encode() in request for number, request in enumerate(requests, 1))
        return found.kling_task_id if found else None, len(requests)

    return run


def test_on_a_page_shorter_than_asked_for(search: Any) -> None:
    assert search([item(4), item(3)], [item(2), item(1, name="mine")]) == ("t1", 2)


@pytest.mark.parametrize("odd", [None, "x", {}, {"task_status": "succeed"}], ids=str)
def test_behind_an_odd_item(odd: Any, search: Any) -> None:
    assert search([odd, *map(item, range(499))], [item(900, name="mine")]) == ("t900", 2)


def test_behind_a_task_with_an_odd_date(search: Any) -> None:
    assert search([item(3), item(2, created=0)], [item(1, name="mine")]) == ("t1", 2)


def test_none_up_to_an_empty_page(search: Any) -> None:
    assert search([item(2), item(1)], []) == (None, 2)
    assert search([]) == (None, 1)


def test_none_where_pages_repeat_themselves(search: Any) -> None:
    assert search([item(2), item(1)], [item(1), item(2)], [item(3, name="mine")]) == (None, 2)


def test_none_up_to_a_page_older_than_the_submission(search: Any) -> None:
    old = NOW - 2 * DAY
    assert search([item(3), item(2, created=old)], [item(1, created=old)], [item(0, name="mine")]) == (None, 2)


def test_no_more_than_the_newest_tasks(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "MAX_TASKS", 4)
    assert search([item(6), item(5)], [item(4), item(3)], [item(2, name="mine")]) == (None, 2)


def test_page_of_nothing_but_odd_items_is_no_end(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.api.retry.ATTEMPTS", 1)
    with pytest.raises(KlingServerError):
        search([{}, None], [item(1, name="mine")])
