"""One poller for all waiting tasks of a connection and event loop: shared, fair, and gone when nobody waits."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from airflow_kling.api.gateways import COMETAPI, OFFICIAL, Gateway
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingError,
    KlingInputError,
    KlingRateLimitError,
    KlingServerError,
)
from airflow_kling.polling import poller, schedule
from airflow_kling.polling.poller import StatusPoller
from tests.unit.polling.fakes import Client, Connections, run, until, waiting

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.mark.parametrize("gateway", [COMETAPI, OFFICIAL], ids=lambda gateway: gateway.name)
def test_the_pace_goes_by_the_requests_that_all_waits_take(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(gateway)
    client.statuses = {str(i): "processing" for i in range(10)}
    seen: list[float] = []
    next_poll = schedule.next_poll

    def recorded(*, requests: float, **options: Any) -> float:
        seen.append(requests)
        return next_poll(requests=requests, **options)

    monkeypatch.setattr(schedule, "next_poll", recorded)
    monkeypatch.setattr(schedule, "JITTER", 0.0)  # so that all are due at once

    async def main() -> None:
        connect = Connections(kling=client)
        waits = [waiting(connect, str(i)) for i in range(10)]
        waits.append(waiting(connect, "clip", route="text-to-video"))
        await until(lambda: len(seen) >= 22)
        for wait in waits[7:10]:
            wait.cancel()
        await asyncio.gather(*waits[7:10], return_exceptions=True)
        seen.clear()
        await until(lambda: len(seen) >= 22)
        for wait in waits:
            wait.cancel()

    run(main())
    assert set(seen) == ({7} if gateway is COMETAPI else {7, 7 * schedule.LISTED})


def test_a_hundred_waits_share_one_client_and_one_lookup() -> None:
    client = Client()
    client.statuses = {str(i): "succeed" if i % 2 else "failed" for i in range(100)}
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(100)))

    verdicts = run(main())
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

    run(main())
    assert connect.looked_up == {"kling": 2}


def test_a_cancelled_wait_leaves_at_once_and_is_not_polled_again() -> None:
    client = Client()
    connect = Connections(kling=client)

    async def main() -> None:
        client.held = asyncio.Event()
        gone, stays = waiting(connect, "gone"), waiting(connect, "stays")
        await until(lambda: "gone" in client.asked)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)  # its request is not answered yet
        client.held.set()
        asked = client.asked.count("gone")
        await until(lambda: client.asked.count("stays") > 3)
        assert client.asked.count("gone") == asked
        stays.cancel()

    run(main())


def test_two_connections_and_two_loops_share_nothing() -> None:
    one, two = Client(), Client()
    one.statuses, two.statuses = {"1": "succeed"}, {"1": "failed"}
    connect = Connections(one=one, two=two)

    async def main() -> list[Any]:
        return await asyncio.gather(waiting(connect, "1", "one"), waiting(connect, "1", "two"))

    assert [verdict for verdict, _ in run(main())] == ["succeed", "failed"]
    run(main())
    assert connect.looked_up == {"one": 2, "two": 2}


def test_two_waits_for_one_task_end_with_one_poll() -> None:
    client = Client()
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        both = [waiting(connect, "1"), waiting(connect, "1")]
        await until(lambda: client.asked)
        client.statuses["1"] = "succeed"
        return await asyncio.gather(*both)

    assert [verdict for verdict, _ in run(main())] == ["succeed", "succeed"]


class Failing(Connections):
    """A connection that cannot be looked up for a while."""

    def __init__(self, *errors: Exception | None, **clients: Client) -> None:
        super().__init__(**clients)
        self.errors = list(errors)

    async def __call__(self, conn_id: str) -> tuple[Any, float]:
        answer = await super().__call__(conn_id)
        if self.errors:
            if (error := self.errors.pop(0)) is not None:
                raise error
            await asyncio.sleep(60)
        return answer


FAILURES = [
    LookupError("with a secret"),
    ConnectionError("secrets backend"),
    FileNotFoundError("ca.pem"),
    RuntimeError("supervisor"),
    KlingInputError("Connection 'kling' has gateway 'x' in its extra."),
    KlingAuthenticationError("401"),
]


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_lookup_that_fails_for_a_while_ends_no_wait(
    failure: Exception, times: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_kling.api.retry.BASE_DELAY", 0.001)
    client = Client()
    client.statuses = {str(i): "succeed" for i in range(40)}
    connect = Failing(*[failure] * times, kling=client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(40)))

    assert [verdict for verdict, _ in run(main())] == ["succeed"] * 40
    assert connect.looked_up == {"kling": times + 1}
    assert "secret" not in caplog.text.replace("secrets backend", "")


@pytest.mark.parametrize("failure", [*FAILURES, None], ids=lambda failure: type(failure).__name__)
def test_a_lookup_that_goes_on_failing_ends_each_wait_with_an_error_and_a_reason(failure: Exception | None) -> None:
    connect = Failing(*[failure] * 10_000, kling=Client())

    async def main() -> list[Any]:
        waits = [waiting(connect, str(i)) for i in range(40)]
        await asyncio.sleep(0)
        trouble = StatusPoller.of("kling", connect)
        async with asyncio.timeout(poller.OPEN_PATIENCE + 0.1):
            ends = await asyncio.gather(*waits)
        assert trouble.trouble
        assert "secret" not in trouble.trouble
        return ends

    assert run(main()) == [("error", None)] * 40


def test_a_defect_of_the_poller_ends_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any, **__: Any) -> str:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(schedule, "verdict", defect)
    client = Client()

    async def main() -> list[Any]:
        waits = [waiting(Connections(kling=client), str(i)) for i in range(3)]
        return await asyncio.gather(*waits, return_exceptions=True)

    assert all(isinstance(end, RuntimeError) and "a defect" in str(end) for end in run(main()))


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

    run(main())


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
        waits += [waiting(connect, str(i), poke_interval=0.01) for i in range(20)]
        await until(lambda: len(client.asked) > 1)
        assert client.asked_at[1] - client.asked_at[0] >= 0.19
        for wait in waits:
            wait.cancel()

    run(main())


def test_a_small_budget_is_kept_and_shared_fairly() -> None:
    client = Client()
    connect = Connections(rate=100, kling=client)

    async def main() -> float:
        start = asyncio.get_running_loop().time()
        waits = [waiting(connect, str(i), poke_interval=0.001) for i in range(40)]
        await until(lambda: len(client.asked) >= 160)
        for wait in waits:
            wait.cancel()
        return asyncio.get_running_loop().time() - start

    took = run(main())
    assert took >= 0.55  # 160 requests at 100 a second, after a burst of 100
    counts = Counter(client.asked[:160])
    assert len(counts) == 40
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_whole_task_comes_with_the_verdict_when_asked_for() -> None:
    client = Client()
    client.statuses = {"1": "succeed"}

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True)

    verdict, task = run(main())
    assert (verdict, task.status) == ("succeed", "succeed")


def test_the_poll_that_finds_the_end_brings_the_whole_task_so_nobody_asks_again() -> None:
    client = Client()
    client.statuses, client.tells_whole = {"1": "succeed"}, True

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True)

    verdict, task = run(main())
    assert (verdict, task.complete) == ("succeed", True)
    assert (client.asked, client.got) == (["1"], [])


@pytest.mark.parametrize("status", ["failed", "error", "timeout"])
def test_only_a_success_is_asked_for_as_a_whole(status: str) -> None:
    client = Client()
    client.statuses = {"1": status}
    client.errors = [KlingAuthenticationError("401")] * 2 if status == "error" else []
    left = 0.05 if status == "timeout" else 20

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True, left=left)

    assert run(main()) == (status, None)
    assert client.got == []


def test_whole_tasks_keep_the_budget() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(60)}
    connect = Connections(rate=50, kling=client)

    async def main() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(waiting(connect, str(i), with_task=True) for i in range(60)))
        return asyncio.get_running_loop().time() - start

    assert run(main()) >= 0.1  # 61 requests at 50 a second, after a burst of 50
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

    run(main())
    assert client.got == ["1", "1"]


def test_a_whole_task_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "PATIENCE", 0.1)
    client = Client()
    client.statuses = {"1": "succeed"}
    client.get_errors = [KlingRateLimitError("429", retry_after=60)]

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", with_task=True)

    assert run(main()) == ("succeed", None)


@pytest.mark.parametrize("late", [0.0, 60.0])
def test_the_deadline_ends_waits_whose_polls_are_not_answered(late: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "OVERDUE", 0.2)
    client = Client(latency=30)

    async def main() -> list[Any]:
        connect = Connections(kling=client)
        waits = (waiting(connect, str(i), left=0.1 - late, age=late) for i in range(200))
        async with asyncio.timeout(2):
            return await asyncio.gather(*waits)

    assert {verdict for verdict, _ in run(main())} == {"timeout"}
    assert len(client.asked) == poller.CONCURRENCY
    assert client.closed


def test_the_deadline_holds_while_the_api_asks_for_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "OVERDUE", 0.1)
    client = Client()
    client.errors = [KlingRateLimitError("429", retry_after=60)]

    async def main() -> Any:
        async with asyncio.timeout(2):
            return await waiting(Connections(kling=client), "1", left=0.1)

    assert run(main())[0] == "timeout"


def test_the_deadline_ends_a_wait_that_the_budget_has_starved() -> None:
    client = Client()

    async def main() -> Any:
        return await waiting(Connections(kling=client), "1", left=0.1, poke_interval=60)

    assert run(main())[0] == "timeout"


def test_a_wait_is_few_objects_to_walk_for_every_garbage_collection() -> None:
    """A full collection is the longest time that the event loop stands still: asyncio itself makes ten of a wait."""
    client, count = Client(), 200
    connect = Connections(kling=client)

    async def main() -> float:
        first = waiting(connect, "first")
        await until(lambda: "first" in client.asked)
        gc.collect()
        before = len(gc.get_objects())
        waits = [waiting(connect, str(number), left=3600, poke_interval=3600) for number in range(count)]
        await asyncio.sleep(0)
        objects = (len(gc.get_objects()) - before) / count
        for one in (first, *waits):
            one.cancel()
        await asyncio.gather(first, *waits, return_exceptions=True)
        return objects

    gc.disable()
    try:
        assert run(main()) < 14
    finally:
        gc.enable()
