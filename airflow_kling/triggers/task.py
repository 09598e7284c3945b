"""The wait of a deferred task, in the triggerer: it looks at the task until it is finished, and never costs money."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_kling import polling
from airflow_kling.exceptions import KlingError
from airflow_kling.hooks.kling import KlingHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_kling.api.client import AsyncKlingClient
    from airflow_kling.api.models import KlingTask


class KlingTaskTrigger(BaseTrigger):
    """Fire once, when a Kling task is finished, cannot be waited for, or the deadline has passed.

    The event says ``{"kling_task_id", "status"}``, status ``succeed``, ``failed``, ``error`` or ``timeout``; whoever
    resumes asks the API for the rest, since events are logged and stored as they are.

    :param kling_task_id: the task.
    :param kling_conn_id: the connection, with the account that created the task.
    :param poke_interval: seconds between two looks.
    :param deadline: epoch seconds; a restart of the triggerer does not grant a new wait.
    """

    def __init__(
        self,
        *,
        kling_task_id: str,
        kling_conn_id: str = KlingHook.default_conn_name,
        poke_interval: float = polling.POKE_INTERVAL,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kling_task_id = kling_task_id
        self.kling_conn_id = kling_conn_id
        self.poke_interval = poke_interval
        self.deadline = deadline
        self._odd_status: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and arguments, all plain, from which another triggerer goes on."""
        return (
            "airflow_kling.triggers.task.KlingTaskTrigger",
            {
                "kling_task_id": self.kling_task_id,
                "kling_conn_id": self.kling_conn_id,
                "poke_interval": self.poke_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again; yields exactly one event."""
        status = await self._wait()
        yield TriggerEvent({"kling_task_id": self.kling_task_id, "status": status})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """A user cleared or marked the task. Kling has no cancel call, so this says what that means, and no more.

        Airflow also calls it, wrongly, when a trigger moves to another triggerer (apache/airflow#73454).
        """
        self.log.warning(polling.RUNS_ON, self.kling_task_id)

    async def _wait(self) -> str:
        await asyncio.sleep(polling.FIRST_LOOK_AFTER_DEFERRAL)
        try:
            client = await KlingHook(self.kling_conn_id).get_async_conn()
        except KlingError:
            return polling.ERROR
        async with client:
            while True:
                look = await self._look(client)
                if status := polling.verdict(look, now=time.time(), deadline=self.deadline):
                    return status
                await asyncio.sleep(
                    polling.next_look(
                        now=time.time(),
                        deadline=self.deadline,
                        poke_interval=self.poke_interval,
                        retry_after=getattr(look, "retry_after", None),
                    )
                )

    async def _look(self, client: AsyncKlingClient) -> KlingTask | KlingError:
        try:
            task = await client.get(self.kling_task_id, deadline=0)  # the next look is the repetition
        except KlingError as error:
            return error
        if not task.status_known and task.status != self._odd_status:
            self._odd_status = task.status
            self.log.warning("Kling task %s has the unknown status %r; waiting on.", self.kling_task_id, task.status)
        return task
