"""The requests of one connection: one client, and a new one when the key has been replaced."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from airflow_kling.api.gateways import OFFICIAL
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import TaskStatus
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingPermissionError,
)
from tests.unit.polling.fakes import Client, Connections, run, waiting

pytestmark = pytest.mark.usefixtures("at_once")


class Refusing(Client):
    """Its key is no longer taken."""

    async def status(self, task_id: str, *, route: str = DEFAULT_ROUTE, whole: bool = False) -> TaskStatus:
        await super().status(task_id, route=route)
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

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert connect.looked_up == 2
    assert old.closed
    assert new.closed


def test_a_key_that_stays_refused_is_read_again_once_a_minute() -> None:
    client = Refusing()
    connect = Rotating(client)

    async def main() -> None:
        stays = waiting(connect, "stays", poke_interval=60)
        assert [(await waiting(connect, str(i)))[0] for i in range(2)] == ["error", "error"]
        assert connect.looked_up == 4  # whoever waits after a refusal looks the connection up
        assert not stays.done()
        stays.cancel()

    run(main())
    assert client.asked == ["0", "0", "1", "1"]


def test_a_connection_that_cannot_be_read_again_leaves_the_refusal() -> None:
    connect = Rotating(Refusing())

    async def once(conn_id: str) -> Any:
        if connect.looked_up:
            raise LookupError("no such connection any more")
        return await connect(conn_id)

    async def main() -> Any:
        return await waiting(once, "1")

    assert run(main())[0] == "error"


def test_an_odd_answer_is_its_own_tasks_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.statuses = {str(i): "succeed" for i in range(3)}
    client.errors = [ZeroDivisionError("with a secret"), ZeroDivisionError("with a secret")]

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(Connections(kling=client), str(i)) for i in range(3)))

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert len(client.asked) == 5
    assert caplog.text.count("ZeroDivisionError") == 1
    assert "secret" not in caplog.text


def test_a_list_that_the_account_may_not_read_is_no_reason_to_connect_anew() -> None:
    client = Client(OFFICIAL)
    client.statuses = {str(i): "succeed" for i in range(10)}
    client.list_errors = [KlingPermissionError("403")]
    connect = Connections(kling=client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(waiting(connect, str(i)) for i in range(10)))

    assert {verdict for verdict, _ in run(main())} == {"succeed"}
    assert connect.looked_up == {"kling": 1}


def test_requests_are_counted_by_route(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    monkeypatch.setattr(
        "airflow_kling.reporting.metrics.polled", lambda count, tags, **_: counted.update({tags["route"]: count})
    )
    client = Client()
    client.statuses = {str(i): "succeed" for i in range(3)}

    async def main() -> None:
        connect = Connections(kling=client)
        await asyncio.gather(waiting(connect, "0"), waiting(connect, "1"), waiting(connect, "2", route="text-to-video"))

    run(main())
    assert counted == {DEFAULT_ROUTE: 2, "text-to-video": 1}
