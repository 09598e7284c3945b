"""The list of tasks: one request tells of many, and it is read no further than it is worth."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from airflow_kling.api.gateways import OFFICIAL
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import TaskStatus
from airflow_kling.exceptions import (
    KlingServerError,
)
from airflow_kling.polling import listing, schedule
from tests.unit.polling.fakes import Client, Connections, run, until, waiting

pytestmark = pytest.mark.usefixtures("at_once")


def test_the_list_tells_of_many_with_few_requests() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "processing" for i in range(1200)}
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        waits = [waiting(connect, str(i), poke_interval=0.5) for i in range(1200)]
        await until(lambda: client.pages >= 3)
        client.statuses = dict.fromkeys(client.statuses, "succeed")
        return await asyncio.gather(*waits)

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert client.pages <= 9
    assert len(client.asked) < 20


def test_what_the_list_does_not_tell_is_asked_one_by_one() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(600)}
    hidden = Client(OFFICIAL)
    hidden.statuses = {"old": "succeed", **client.statuses}

    async def listed(**page: Any) -> list[TaskStatus]:
        return [status for status in await Client.list_statuses(hidden, **page) if status.kling_task_id != "old"]

    hidden.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> list[Any]:
        connect = Connections(kling=hidden)
        names = ["old", *(str(i) for i in range(20))]
        return await asyncio.gather(*(waiting(connect, name) for name in names))

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert set(hidden.asked) == {"old"}


def test_paging_stops_at_pages_older_than_every_due_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JITTER", 0.0)
    client = Client(replace(OFFICIAL))
    client.statuses = {str(i): "processing" for i in range(5000)}
    now = time.time()
    read: set[int] = set()

    async def listed(*, page: int, page_size: int, route: str, deadline: float) -> list[TaskStatus]:
        read.add(page)
        return [TaskStatus(f"other-{page}-{i}", "processing", now - 3600 * page) for i in range(page_size)]

    client.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> None:
        connect = Connections(kling=client)
        waits = [waiting(connect, str(i), poke_interval=0.5) for i in range(10)]
        await until(lambda: len(client.asked) >= 10)
        for wait in waits:
            wait.cancel()

    run(main())
    assert read == {1}


def test_a_list_that_fails_falls_back_to_single_queries() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(10)}
    client.list_errors = [KlingServerError("500")]

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(10)))

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert client.asked


def test_a_list_that_hangs_holds_nobody_up_for_long_and_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_LIMIT", 0.05)
    client = Client(OFFICIAL)

    async def hanging(**page: Any) -> list[TaskStatus]:
        client.pages += 1
        await asyncio.sleep(60)
        raise AssertionError

    client.list_statuses = hanging  # type: ignore[method-assign]

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        waits = [waiting(connect, str(i)) for i in range(10)]
        await until(lambda: len(client.asked) >= 50)
        client.statuses = {str(i): "succeed" for i in range(10)}
        return await asyncio.gather(*waits)

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert client.pages == 1


@pytest.mark.parametrize(("ignores_page", "most"), [(True, 2), (False, 4)])
def test_a_list_without_times_is_read_no_further_than_it_is_worth(ignores_page: bool, most: int) -> None:
    client = Client(OFFICIAL)
    read: list[int] = []

    async def listed(*, page: int, page_size: int, route: str, deadline: float) -> list[TaskStatus]:
        read.append(page)
        which = 1 if ignores_page else page
        return [TaskStatus(f"other-{which}-{i}", "processing", None) for i in range(page_size)]

    client.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> None:
        connect = Connections(kling=client)
        waits = [waiting(connect, str(i), poke_interval=0.5) for i in range(10)]
        await until(lambda: len(client.asked) >= 10)
        for wait in waits:
            wait.cancel()

    run(main())
    assert max(read) == most


def test_the_last_few_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JITTER", 0.0)  # so that all are due at once
    client = Client(OFFICIAL)
    read: list[int] = []
    mine = [f"mine-{i}" for i in range(10)]

    async def listed(*, page: int, page_size: int, route: str, deadline: float) -> list[TaskStatus]:
        read.append(page)
        ids = (mine[:7] if page == 1 else []) + [f"other-{page}-{i}" for i in range(page_size)]
        return [TaskStatus(task_id, "succeed", time.time()) for task_id in ids[:page_size]]

    client.list_statuses = listed  # type: ignore[method-assign]
    client.statuses = dict.fromkeys(mine, "succeed")

    async def main() -> None:
        connect = Connections(kling=client)
        await asyncio.gather(*(waiting(connect, task_id) for task_id in mine))

    run(main())
    assert set(read) == {1}
    assert set(client.asked) == set(mine[7:])


@pytest.mark.parametrize(("waiting", "pages"), [(1, 4), (500, 4), (501, 6), (10_000, 42), (1_000_000, 1000)])
def test_most_pages(waiting: int, pages: int) -> None:
    assert listing.most_pages(waiting) == pages


def test_each_route_has_a_list_of_its_own() -> None:
    client = Client(OFFICIAL)
    read: list[str] = []

    async def listed(*, page: int, page_size: int, route: str, deadline: float) -> list[TaskStatus]:
        read.append(route)
        if page > 1:
            return []
        return [TaskStatus(str(i), "succeed" if route == DEFAULT_ROUTE else "failed", time.time()) for i in range(10)]

    client.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        routes = [DEFAULT_ROUTE] * 10 + ["text-to-video"] * 10
        return await asyncio.gather(*(waiting(connect, str(i % 10), route=route) for i, route in enumerate(routes)))

    verdicts = [verdict for verdict, _ in run(main())]
    assert verdicts == ["succeed"] * 10 + ["failed"] * 10  # though the ids are the same
    assert set(read) == {DEFAULT_ROUTE, "text-to-video"}


def test_a_list_that_fails_rests_for_its_route_alone() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(10)}
    refused: list[str] = []

    async def listed(*, route: str, **page: Any) -> list[TaskStatus]:
        if route == DEFAULT_ROUTE:
            refused.append(route)
            raise KlingServerError("500")
        return await Client.list_statuses(client, route=route, **page)

    client.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        routes = [DEFAULT_ROUTE] * 10 + ["text-to-video"] * 10
        return await asyncio.gather(*(waiting(connect, str(i % 10), route=route) for i, route in enumerate(routes)))

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert refused == [DEFAULT_ROUTE]
    assert len(client.asked) == 10
