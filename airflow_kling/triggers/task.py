"""Waits for a deferred task in the triggerer; it polls until the task is finished, and never costs money."""

from __future__ import annotations

import gc
import logging
import math
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import SUCCEED
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.polling import schedule
from airflow_kling.polling.poller import StatusPoller
from airflow_kling.reporting import metrics
from airflow_kling.reporting.links import GALLERY_LINKS, KlingGalleryLink, gallery_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_kling.api.async_client import AsyncKlingClient

log = logging.getLogger(__name__)

XCOM_RETURN_KEY = "return_value"
NOT_RENDERED = "the id of the Kling task was not rendered"


@cache
def _freeze_loaded_modules() -> None:
    """Take what the process has loaded so far out of Python's garbage collections, once; ``[kling]`` can turn it off.

    A full collection walks every object, and the event loop stands still meanwhile: 177 ms with ten thousand waiting
    tasks, 80 ms without Airflow's own modules, which never go away. Reference counting still frees what is frozen.
    """
    if not conf.getboolean("kling", "freeze_garbage_collection", fallback=True):
        return
    gc.freeze()
    log.info(
        "Garbage collections leave out the %d objects loaded so far ([kling] freeze_garbage_collection).",
        gc.get_freeze_count(),
    )


async def _connect(kling_conn_id: str) -> tuple[AsyncKlingClient, float]:
    hook = KlingHook(kling_conn_id)
    client = await hook.get_async_conn()
    return client, hook.settings.max_requests_per_second


def _check_seconds(**values: Any) -> None:
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and math.isfinite(value)):
            raise KlingInputError(f"{name} is {value!r}, it must be a number of seconds; nothing was asked.")


class KlingTaskTrigger(BaseTrigger):
    """Fire once, when a Kling task is finished, cannot be waited for, or the deadline has passed.

    The event says ``{"kling_task_id", "route", "status"}``, status ``succeed``, ``failed``, ``error`` or ``timeout``;
    ``"reason"`` where the connection could not be opened here. Whoever resumes asks the API for the rest, since events
    are logged and stored as they are.

    A wait that another machine has begun goes by what was left there, since its clock may be another:
    :func:`airflow_kling.polling.schedule.seconds_left`. Airflow's own timeout of the deferral holds in any case.

    :param kling_task_id: the task.
    :param route: of the task; a trigger that was stored without one is of ``multi-image-to-image``.
    :param kling_conn_id: the connection, with the account that created the task.
    :param poke_interval: seconds, the longest time between two polls; younger tasks are polled more often. None for
        the route's own pace. All triggers of a connection share one client and a budget of requests, see
        :mod:`airflow_kling.polling.poller`.
    :param deadline: epoch seconds; a restart of the triggerer does not grant a new wait.
    :param remaining: seconds until the deadline when it was deferred. Without a deadline, a wait of so many seconds
        begins with each start: for machines whose clocks are known to be apart.
    :param timeout: seconds, in place of both, for a task that starts in the triggerer: there, Airflow's own timeout of
        the deferral is what survives a restart. None for the deadline of the route's pace.
    :param end_from_trigger: a success ends the Airflow task here, with the finished task as its XCom (Airflow 3.3+).
    :param since: epoch seconds when the wait began, now if None.
    :raises KlingInputError: a number of seconds is none.
    """

    def __init__(
        self,
        *,
        kling_task_id: str,
        route: str | None = DEFAULT_ROUTE,
        kling_conn_id: str = KlingHook.default_conn_name,
        poke_interval: float | None = None,
        deadline: float | None = None,
        remaining: float | None = None,
        timeout: float | None = None,
        since: float | None = None,
        end_from_trigger: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _check_seconds(
            poke_interval=poke_interval, deadline=deadline, remaining=remaining, timeout=timeout, since=since
        )
        self.kling_task_id = kling_task_id
        self.route = route
        self.kling_conn_id = kling_conn_id
        self.poke_interval = poke_interval
        self.since = time.time() if since is None else since
        if deadline is None and remaining is None and timeout is not None:
            deadline, remaining = self.since + timeout, timeout
        self.deadline = deadline
        self.remaining = remaining
        self.end_from_trigger = end_from_trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and arguments, all plain, from which another triggerer goes on."""
        return (
            "airflow_kling.triggers.task.KlingTaskTrigger",
            {
                "kling_task_id": self.kling_task_id,
                "route": self.route,
                "kling_conn_id": self.kling_conn_id,
                "poke_interval": self.poke_interval,
                "since": self.since,
                "end_from_trigger": self.end_from_trigger,
                # One of the two may not be there: what was stored goes on as it was.
                **({} if self.deadline is None else {"deadline": self.deadline}),
                **({} if self.remaining is None else {"remaining": self.remaining}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the verdict of the connection's poller; yields exactly one event."""
        payload: dict[str, Any]
        if self.end_from_trigger and not self._rendered():
            payload = {"kling_task_id": None, "status": schedule.ERROR, "reason": NOT_RENDERED}
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
            return
        if self.end_from_trigger and GALLERY_LINKS:  # no worker has been there to push it
            await self._push(KlingGalleryLink.xcom_key, self._gallery_link)
        route = self.route or DEFAULT_ROUTE  # a template may render to nothing: an id that was stored without a route
        _freeze_loaded_modules()
        poller = StatusPoller.of(self.kling_conn_id, _connect)
        now, began = time.time(), time.monotonic()
        left, age = self._left_and_age(now, route)
        status, task = await poller.wait(
            self.kling_task_id,
            route=route,
            left=left,
            poke_interval=self.poke_interval,
            age=age,
            with_task=self.end_from_trigger,
        )
        waited = time.monotonic() - began
        if (
            task is not None
            and task.status == SUCCEED
            and task.complete
            and await self._push(XCOM_RETURN_KEY, task.to_xcom)
        ):
            dag_id = getattr(self.task_instance, "dag_id", None)
            tags = {"dag_id": dag_id, "gateway": poller.gateway, "route": route}
            metrics.finished(task, since=time.time() - waited - age, now=time.time(), tags=tags, in_triggerer=True)
            yield TaskSuccessEvent()
        else:
            payload = {"kling_task_id": self.kling_task_id, "route": route, "status": status}
            if status == schedule.ERROR and poller.trouble:
                payload |= {"reason": poller.trouble}
            if self.end_from_trigger:
                payload |= {"remaining": max(0.0, left - waited)}  # no worker has deferred, so nothing else holds it
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    def _rendered(self) -> bool:
        """Tell whether Airflow has rendered the id: it does so no more once the DAG is edited to begin on a worker.

        An id that is not there at all renders to ``None``, and a worker says so.
        """
        return self.kling_task_id not in ("", "None") and "{{" not in f"{self.kling_task_id}{self.route}"

    def _left_and_age(self, now: float, route: str) -> tuple[float, float]:
        age = max(0.0, now - self.since)
        if self.deadline is None and self.remaining is None:  # it started here, and the author left it to the route
            return max(0.0, schedule.pace_of(route).deadline - age), age
        left = schedule.seconds_left(now=now, deadline=self.deadline, remaining=self.remaining)
        return left, 0.0 if self.deadline is None else age

    def _gallery_link(self) -> Any:
        return gallery_link(self.task_instance, self.kling_task_id)

    async def _push(self, key: str, make_value: Callable[[], Any]) -> bool:
        """Push what the sensor would. A task never fails for a button, and a result can be had on a worker too.

        Airflow 3.3.2 hands an XCom that comes with the event on as JSON text.
        """
        from airflow.providers.common.compat.sdk import XCom

        ti: Any = self.task_instance
        try:
            where = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
            await XCom.aset(key=key, value=make_value(), **where)
        except Exception as error:  # whatever Airflow's API has to say
            self.log.warning("The XCom %s was not pushed: %s", key, type(error).__name__)
            return False
        return True

    async def on_kill(self) -> None:
        """A user cleared or marked the task. Kling has no cancel call, so this says what that means, and no more.

        Airflow also calls it, wrongly, when a trigger moves to another triggerer (apache/airflow#73454).
        """
        self.log.warning(schedule.RUNS_ON, self.kling_task_id)
