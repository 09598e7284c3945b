"""One poller for all waiting tasks of a connection and event loop: shared, fair, and gone when nobody waits."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_kling.api.gateways import COMETAPI, OFFICIAL, Gateway
from airflow_kling.api.tasks import KlingTask, TaskStatus
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingError,
    KlingPermissionError,
    KlingRateLimitError,
    KlingServerError,
)
from airflow_kling.polling import listing, poller, schedule
from airflow_kling.polling.poller import StatusPoller
from airflow_kling.polling.queue import Agenda, Watch


class Client:
    """An asynchronous client whose tasks finish when told; counts what it is asked."""

    def __init__(self, gateway: Gateway = COMETAPI, latency: float = 0.0) -> None:
        self.gateway = gateway
        self.latency = latency
        self.statuses: dict[str, str] = {}
        self.errors: list[Exception] = []
        self.asked: list[str] = []
        self.got: list[str] = []
        self.get_errors: list[Exception] = []
        self.list_errors: list[Exception] = []
        self.pages = 0
        self.at_once = self.most_at_once = 0
        self.closed = False

    async def status(self, task_id: str) -> TaskStatus:
        self.asked.append(task_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.latency)
        self.at_once -= 1
        if self.errors:
            raise self.errors.pop(0)
        return TaskStatus(task_id, self.statuses.get(task_id, "processing"), None)

    async def get(self, task_id: str, *, deadline: float) -> KlingTask:
        assert deadline == 0  # repeated, if at all, in its turn
        self.got.append(task_id)
        await asyncio.sleep(self.latency)
        if self.get_errors:
            raise self.get_errors.pop(0)
        return KlingTask(kling_task_id=task_id, status=self.statuses.get(task_id, "processing"))

    async def list_statuses(self, *, page: int, page_size: int, deadline: float) -> list[TaskStatus]:
        self.pages += 1
        if self.list_errors:
            raise self.list_errors.pop(0)
        newest_first = list(reversed(self.statuses.items()))
        some = newest_first[(page - 1) * page_size : page * page_size]
        return [TaskStatus(task_id, status, time.time()) for task_id, status in some]

    async def aclose(self) -> None:
        self.closed = True


class Connections:
    """Makes clients, and counts how often each connection was looked up."""

    def __init__(self, rate: float = 1e6, **clients: Client) -> None:
        self.clients = clients
        self.rate = rate
        self.looked_up: Counter[str] = Counter()

    async def __call__(self, conn_id: str) -> tuple[Any, float]:
        self.looked_up[conn_id] += 1
        return self.clients[conn_id], self.rate


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_LOOK_AFTER_DEFERRAL", 0.01)
    monkeypatch.setattr(schedule, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(poller, "SWEEP_GAP", 0.01)


def waiting(connect: Any, task_id: str, conn_id: str = "kling", **options: Any) -> asyncio.Task[Any]:
    now = time.time()
    given = {"deadline": now + 20, "poke_interval": 0.02, "since": now, **options}
    return asyncio.create_task(StatusPoller.of(conn_id, connect).wait(task_id, **given))


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


def test_a_hundred_waits_share_one_client_and_one_lookup() -> None:
    client = Client()
    client.statuses = {str(i): "succeed" if i % 2 else "failed" for i in range(100)}
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(100)))

    verdicts = asyncio.run(main())
    assert [verdict for verdict, _ in verdicts] == ["succeed" if i % 2 else "failed" for i in range(100)]
    assert connect.looked_up == {"kling": 1}
    assert Counter(client.asked) == {str(i): 1 for i in range(100)}
    assert client.most_at_once <= poller.CONCURRENCY
    assert client.closed


def test_the_last_to_leave_closes_and_the_next_one_opens_anew() -> None:
    client = Client()
    connect = Connections(kling=client)

    async def main() -> None:
        first, second = waiting(connect, "1"), waiting(connect, "2")
        await until(lambda: len(client.asked) > 3)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not client.closed
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await until(lambda: client.closed)
        client.statuses["3"] = "succeed"
        assert (await waiting(connect, "3"))[0] == "succeed"

    asyncio.run(main())
    assert connect.looked_up == {"kling": 2}


def test_a_cancelled_wait_leaves_at_once_and_is_not_looked_at_again() -> None:
    client = Client(latency=0.05)
    connect = Connections(kling=client)

    async def main() -> None:
        gone, stays = waiting(connect, "gone"), waiting(connect, "stays")
        await until(lambda: "gone" in client.asked)
        gone.cancel()
        before = time.perf_counter()
        await asyncio.gather(gone, return_exceptions=True)
        assert time.perf_counter() - before < 0.04
        asked = client.asked.count("gone")
        await until(lambda: client.asked.count("stays") > 3)
        assert client.asked.count("gone") == asked
        stays.cancel()

    asyncio.run(main())


def test_two_connections_and_two_loops_share_nothing() -> None:
    one, two = Client(), Client()
    one.statuses, two.statuses = {"1": "succeed"}, {"1": "failed"}
    connect = Connections(one=one, two=two)

    async def main() -> list[Any]:
        return await asyncio.gather(waiting(connect, "1", "one"), waiting(connect, "1", "two"))

    assert [verdict for verdict, _ in asyncio.run(main())] == ["succeed", "failed"]
    asyncio.run(main())
    assert connect.looked_up == {"one": 2, "two": 2}


def test_two_waits_for_one_task_end_with_one_look() -> None:
    client = Client()
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        both = [waiting(connect, "1"), waiting(connect, "1")]
        await until(lambda: client.asked)
        client.statuses["1"] = "succeed"
        return await asyncio.gather(*both)

    assert [verdict for verdict, _ in asyncio.run(main())] == ["succeed", "succeed"]


@pytest.mark.parametrize(
    ("broken", "outcome"), [(KlingAuthenticationError("401"), "error"), (LookupError("no such connection"), None)]
)
def test_a_poller_that_cannot_start_ends_every_wait_with_its_own_error(broken: Exception, outcome: str | None) -> None:
    async def connect(conn_id: str) -> Any:
        raise broken

    async def main() -> list[Any]:
        waits = [waiting(connect, str(i)) for i in range(3)]
        return await asyncio.gather(*waits, return_exceptions=True)

    ends = asyncio.run(main())
    if outcome:
        assert [end[0] for end in ends] == [outcome] * 3
    else:
        assert len({id(end) for end in ends}) == 3
        assert all("no such connection" in str(end) and isinstance(end, RuntimeError) for end in ends)


class Refusing(Client):
    """Its key is no longer taken."""

    async def status(self, task_id: str) -> TaskStatus:
        await super().status(task_id)
        raise KlingAuthenticationError("401")


class Rotating:
    """A connection that holds another key each time that it is looked up, until the last one."""

    def __init__(self, *clients: Client) -> None:
        self.left = list(clients)
        self.looked_up = 0

    async def __call__(self, conn_id: str) -> tuple[Any, float]:
        self.looked_up += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0], 1e6


def test_a_replaced_key_is_read_again_and_no_wait_ends_for_it() -> None:
    old, new = Refusing(latency=0.02), Client()
    new.statuses = {str(i): "succeed" for i in range(100)}
    connect = Rotating(old, new)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(100)))

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
    assert connect.looked_up == 2
    assert old.closed
    assert new.closed


def test_a_key_that_stays_refused_is_read_again_once_a_minute() -> None:
    client = Refusing()
    connect = Rotating(client)

    async def main() -> None:
        stays = waiting(connect, "stays", poke_interval=60, since=time.time() + 60)
        assert [(await waiting(connect, str(i)))[0] for i in range(2)] == ["error", "error"]
        assert connect.looked_up == 4  # whoever waits after a refusal looks the connection up
        assert not stays.done()
        stays.cancel()

    asyncio.run(main())
    assert client.asked == ["0", "0", "1", "1"]


def test_a_connection_that_cannot_be_read_again_leaves_the_refusal() -> None:
    connect = Rotating(Refusing())

    async def once(conn_id: str) -> Any:
        if connect.looked_up:
            raise LookupError("no such connection any more")
        return await connect(conn_id)

    async def main() -> Any:
        return await waiting(once, "1")

    assert asyncio.run(main())[0] == "error"


def test_an_odd_answer_is_its_own_tasks_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.statuses = {str(i): "succeed" for i in range(3)}
    client.errors = [ZeroDivisionError("with a secret"), ZeroDivisionError("with a secret")]

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(Connections(kling=client), str(i)) for i in range(3)))

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
    assert len(client.asked) == 5
    assert caplog.text.count("ZeroDivisionError") == 1
    assert "secret" not in caplog.text


def test_a_defect_of_the_poller_ends_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any, **__: Any) -> str:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(schedule, "verdict", defect)
    client = Client()

    async def main() -> list[Any]:
        waits = [waiting(Connections(kling=client), str(i)) for i in range(3)]
        return await asyncio.gather(*waits, return_exceptions=True)

    assert all(isinstance(end, RuntimeError) and "a defect" in str(end) for end in asyncio.run(main()))


def test_a_wait_that_cannot_begin_leaves_nothing_behind() -> None:
    client = Client()
    client.statuses = {"2": "succeed"}
    connect = Connections(kling=client)

    async def main() -> None:
        with pytest.raises(TypeError):
            await waiting(connect, "1", poke_interval=timedelta(5))
        stays = waiting(connect, "3")
        with pytest.raises(TypeError):
            await waiting(connect, "1", poke_interval=timedelta(5))
        assert (await waiting(connect, "2"))[0] == "succeed"
        stays.cancel()
        await until(lambda: client.closed)

    asyncio.run(main())


@pytest.mark.parametrize(
    "refusal", [KlingRateLimitError("429", retry_after=0.2), KlingServerError("503", retry_after=0.2)]
)
def test_a_refusal_slows_everybody_down(refusal: KlingError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.api.retry.BASE_DELAY", 0.0)
    client = Client()
    client.errors = [refusal]

    async def main() -> None:
        connect = Connections(kling=client)
        waits = [waiting(connect, "first", poke_interval=0.01)]
        await until(lambda: client.asked)
        refused = time.perf_counter()
        waits += [waiting(connect, str(i), poke_interval=0.01) for i in range(20)]
        await until(lambda: len(client.asked) > 1)
        assert time.perf_counter() - refused >= 0.19
        for wait in waits:
            wait.cancel()

    asyncio.run(main())


def test_a_small_budget_is_kept_and_shared_fairly() -> None:
    client = Client()
    connect = Connections(rate=100, kling=client)

    async def main() -> float:
        start = time.perf_counter()
        waits = [waiting(connect, str(i), poke_interval=0.001) for i in range(40)]
        await until(lambda: len(client.asked) >= 160)
        for wait in waits:
            wait.cancel()
        return time.perf_counter() - start

    took = asyncio.run(main())
    assert took >= 0.55  # 160 requests at 100 a second, after a burst of 100
    counts = Counter(client.asked[:160])
    assert len(counts) == 40
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_list_tells_of_many_with_few_requests() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "processing" for i in range(1200)}
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        waits = [waiting(connect, str(i), poke_interval=0.5) for i in range(1200)]
        await until(lambda: client.pages >= 3)
        client.statuses = dict.fromkeys(client.statuses, "succeed")
        return await asyncio.gather(*waits)

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
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

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
    assert set(hidden.asked) == {"old"}


def test_paging_stops_at_pages_older_than_every_due_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JITTER", 0.0)
    client = Client(replace(OFFICIAL))
    client.statuses = {str(i): "processing" for i in range(5000)}
    now = time.time()
    read: set[int] = set()

    async def listed(*, page: int, page_size: int, deadline: float) -> list[TaskStatus]:
        read.add(page)
        return [TaskStatus(f"other-{page}-{i}", "processing", now - 3600 * page) for i in range(page_size)]

    client.list_statuses = listed  # type: ignore[method-assign]

    async def main() -> None:
        connect = Connections(kling=client)
        since = time.time()
        waits = [waiting(connect, str(i), poke_interval=0.5, since=since) for i in range(10)]
        await until(lambda: len(client.asked) >= 10)
        for wait in waits:
            wait.cancel()

    asyncio.run(main())
    assert read == {1}


def test_a_list_that_fails_falls_back_to_single_queries() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(10)}
    client.list_errors = [KlingServerError("500")]

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(10)))

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
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

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
    assert client.pages == 1


def test_a_list_that_the_account_may_not_read_is_no_reason_to_connect_anew() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(10)}
    client.list_errors = [KlingPermissionError("403")]
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(10)))

    assert {verdict for verdict, _ in asyncio.run(main())} == {"succeed"}
    assert connect.looked_up == {"kling": 1}


@pytest.mark.parametrize(("ignores_page", "most"), [(True, 2), (False, 4)])
def test_a_list_without_times_is_read_no_further_than_it_is_worth(ignores_page: bool, most: int) -> None:
    client = Client(OFFICIAL)
    read: list[int] = []

    async def listed(*, page: int, page_size: int, deadline: float) -> list[TaskStatus]:
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

    asyncio.run(main())
    assert max(read) == most


def test_the_last_few_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JITTER", 0.0)  # so that all are due at once
    client = Client(OFFICIAL)
    read: list[int] = []
    mine = [f"mine-{i}" for i in range(10)]

    async def listed(*, page: int, page_size: int, deadline: float) -> list[TaskStatus]:
        read.append(page)
        ids = (mine[:7] if page == 1 else []) + [f"other-{page}-{i}" for i in range(page_size)]
        return [TaskStatus(task_id, "succeed", time.time()) for task_id in ids[:page_size]]

    client.list_statuses = listed  # type: ignore[method-assign]
    client.statuses = dict.fromkeys(mine, "succeed")

    async def main() -> None:
        connect, since = Connections(kling=client), time.time()
        await asyncio.gather(*(waiting(connect, task_id, since=since) for task_id in mine))

    asyncio.run(main())
    assert set(read) == {1}
    assert set(client.asked) == set(mine[7:])


@pytest.mark.parametrize(("watched", "pages"), [(1, 4), (500, 4), (501, 6), (10_000, 42), (1_000_000, 1000)])
def test_most_pages(watched: int, pages: int) -> None:
    assert listing.most_pages(watched) == pages


def test_an_agenda_has_one_entry_for_each_watch_however_often_it_is_put_off() -> None:
    async def main() -> None:
        agenda = Agenda()
        watches = [Watch(str(i), 1e9, 20, 0, asyncio.get_running_loop().create_future()) for i in range(3)]
        for due in range(10, 100):
            for watch in watches:
                watch.due = due
                agenda.add(watch)
        assert len(agenda) == 3
        assert agenda.next_due == 10
        assert agenda.take_due(98) == []
        assert agenda.next_due == 99
        watches[2].due = 97
        assert agenda.add(watches[2])
        watches[1].ended.cancel()
        assert agenda.take_due(100) == [watches[2], watches[0]]
        assert len(agenda) == 0
        assert agenda.next_due == math.inf

    asyncio.run(main())


def test_the_whole_task_comes_with_the_verdict_when_asked_for() -> None:
    client = Client()
    client.statuses = {"1": "succeed"}

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True)

    verdict, task = asyncio.run(main())
    assert (verdict, task.status) == ("succeed", "succeed")


@pytest.mark.parametrize("status", ["failed", "error", "timeout"])
def test_only_a_success_is_asked_for_as_a_whole(status: str) -> None:
    client = Client()
    client.statuses = {"1": status}
    client.errors = [KlingAuthenticationError("401")] * 2 if status == "error" else []
    deadline = time.time() + (0.05 if status == "timeout" else 20)

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True, deadline=deadline)

    assert asyncio.run(main()) == (status, None)
    assert client.got == []


def test_whole_tasks_keep_the_budget() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(60)}
    connect = Connections(rate=50, kling=client)

    async def main() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(waiting(connect, str(i), with_task=True) for i in range(60)))
        return time.perf_counter() - start

    assert asyncio.run(main()) >= 0.1  # 61 requests at 50 a second, after a burst of 50
    assert len(client.got) == 60


def test_a_refusal_of_a_whole_task_slows_everybody_down_and_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.api.retry.BASE_DELAY", 0.0)
    client = Client()
    client.statuses = {"1": "succeed"}
    client.get_errors = [KlingRateLimitError("429", retry_after=0.3)]

    async def main() -> None:
        connect = Connections(kling=client)
        other = waiting(connect, "other", poke_interval=0.01)
        wait = waiting(connect, "1", with_task=True)
        await until(lambda: client.got)
        await asyncio.sleep(0.05)
        asked = len(client.asked)
        await asyncio.sleep(0.15)
        assert len(client.asked) == asked
        verdict, task = await wait
        assert (verdict, task.status) == ("succeed", "succeed")
        other.cancel()

    asyncio.run(main())
    assert client.got == ["1", "1"]


def test_a_whole_task_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "PATIENCE", 0.1)
    client = Client()
    client.statuses = {"1": "succeed"}
    client.get_errors = [KlingRateLimitError("429", retry_after=60)]

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True)

    assert asyncio.run(main()) == ("succeed", None)


@pytest.mark.parametrize("late", [0.0, 60.0])
def test_the_deadline_ends_waits_whose_looks_are_not_answered(late: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "OVERDUE", 0.2)
    client = Client(latency=30)

    async def main() -> list[Any]:
        connect, now = Connections(kling=client), time.time()
        waits = (waiting(connect, str(i), deadline=now + 0.1 - late, since=now - late) for i in range(200))
        async with asyncio.timeout(2):
            return await asyncio.gather(*waits)

    assert {verdict for verdict, _ in asyncio.run(main())} == {"timeout"}
    assert len(client.asked) == poller.CONCURRENCY
    assert client.closed


def test_the_deadline_holds_while_the_api_asks_for_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "OVERDUE", 0.1)
    client = Client()
    client.errors = [KlingRateLimitError("429", retry_after=60)]

    async def main() -> Any:
        async with asyncio.timeout(2):
            return await waiting(Connections(kling=client), "1", deadline=time.time() + 0.1)

    assert asyncio.run(main())[0] == "timeout"


def test_the_deadline_ends_a_wait_that_the_budget_has_starved() -> None:
    client = Client()

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", deadline=time.time() + 0.1, poke_interval=60)

    assert asyncio.run(main())[0] == "timeout"
