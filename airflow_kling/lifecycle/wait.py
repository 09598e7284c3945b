"""Waits for a Kling task on a worker; shared by the sensor and by operators that wait for completion."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_kling.exceptions import KlingError, KlingNotFinishedError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.polling import schedule
from airflow_kling.reporting import links, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.tasks import KlingTask

# Airflow's own limit on a deferral, for when no triggerer runs: this long after ours, which ends with a last poll.
DEFERRAL_GRACE = timedelta(minutes=5)
MAX_RETRY_AFTER = 60.0  # seconds that a Retry-After may stretch the interval to
MAX_REFUSALS = 2  # of the triggerer alone
RESUME_PATIENCE = 15.0  # seconds; a resumed task has its result at hand, so a passing error is worth a moment


class KlingWaitMixin:
    """A task that waits for a Kling task; polls on the worker first, and again when it resumes."""

    kling_conn_id: str
    _resumed_route: str = ""
    _waiting_for: str | None = None
    _finished: KlingTask | None = None
    _last_answer: KlingTask | KlingError | None = None

    if TYPE_CHECKING:
        log: Any
        dag_id: str
        poke_interval: Any  # a number in Airflow's own sensor, None too in the other operators
        timeout: Any
        defer: Any

    @cached_property
    def hook(self) -> KlingHook:
        """The connection, looked up once per process."""
        return KlingHook(self.kling_conn_id)

    def poll(self, client: KlingClient, kling_task_id: str, *, patience: float = 0) -> KlingTask | KlingError:
        """Get the task once; a passing error is logged and returned.

        :param patience: seconds within which a passing error is tried again before it is returned.
        :raises KlingTaskFailed: the generation failed.
        :raises KlingError: waiting cannot help: the key is refused, the task does not exist.
        """
        from airflow_kling.api.error_table import task_failure
        from airflow_kling.api.tasks import FAILED, SUCCEED

        self._waiting_for = kling_task_id
        metrics.polled(1, self._tags)
        try:
            task = client.get(kling_task_id, route=self._route, deadline=time.time() + patience)
        except KlingError as error:
            if not error.retryable:
                raise
            self.log.warning("Kling task %s was not polled, waiting on: %s", kling_task_id, error)
            self._last_answer = error
            return error
        self._last_answer = task
        if task.status == FAILED:
            raise task_failure(task)
        if not task.status_known:
            self._warn_once("Kling task %s has the unknown status %r; waiting on.", kling_task_id, task.status)
        elif task.status == SUCCEED and not task.complete:
            self._warn_once("Kling task %s has succeeded, its results are still to come; waiting on.", kling_task_id)
        return task

    @property
    def route_name(self) -> str:
        """Name of the route of the Kling task."""
        raise NotImplementedError

    @property
    def given_interval(self) -> float | None:
        """Seconds between two polls at most; None where the route decides."""
        given: float | None = self.poke_interval
        return given

    @property
    def given_timeout(self) -> float | None:
        """Seconds to wait; None where the route decides."""
        given: float | None = self.timeout
        return given

    @property
    def wait_seconds(self) -> float:
        """Seconds to wait."""
        return schedule.timeout_of(self.given_timeout, self._route)

    @property
    def _route(self) -> str:
        return self._resumed_route or self.route_name

    @property
    def _tags(self) -> dict[str, str | None]:
        return {"dag_id": self.dag_id, "gateway": self.hook.settings.gateway, "route": self._route}

    def finish(self, task: KlingTask, *, since: float | None = None) -> dict[str, Any]:
        """The one end of every wait that succeeds on a worker.

        :param since: epoch seconds when the wait began, None if that is not known.
        """
        self._finished = task
        metrics.finished(task, since=since, now=time.time(), tags=self._tags)
        return task.to_xcom()

    def _warn_once(self, message: str, *values: str) -> None:
        warned: set[tuple[str, ...]] = vars(self).setdefault("_warned", set())
        if values not in warned:
            warned.add(values)
            self.log.warning(message, *values)

    def wait_deferred(
        self,
        kling_task_id: str,
        deadline: float,
        *,
        patience: float = 0,
        refusals: int = 0,
        reason: str = "",
        clocks_apart: bool = False,
    ) -> dict[str, Any]:
        """Return the finished task, else free the worker until the triggerer knows more.

        :param deadline: epoch seconds.
        :param refusals: how often the triggerer was refused where this worker was not; the first one may have been of
            a key that has been replaced since.
        :param reason: why the triggerer was refused, where it could not even ask.
        :param clocks_apart: the triggerer has called the wait over before its time, so its clock is another.
        :raises AirflowSensorTimeout: not finished at the deadline.
        """
        with self.hook.get_conn() as client:
            answer = self.poll(client, kling_task_id, patience=patience)
        if not isinstance(answer, KlingError) and answer.finished:
            return self.finish(answer, since=deadline - self.wait_seconds)
        if refusals >= MAX_REFUSALS and not isinstance(answer, KlingError):
            raise self._only_triggerer_refused(kling_task_id, reason)
        from airflow_kling.triggers.task import KlingTaskTrigger

        remaining = self._remaining(kling_task_id, deadline)
        self.defer(
            trigger=KlingTaskTrigger(
                kling_task_id=kling_task_id,
                route=self._route,
                kling_conn_id=self.kling_conn_id,
                poke_interval=self.given_interval,
                deadline=None if clocks_apart else deadline,
                remaining=remaining,
            ),
            method_name="execute_complete",
            kwargs={
                "kling_task_id": kling_task_id,
                "route": self._route,
                "deadline": deadline,
                "refusals": refusals,
                **({"clocks_apart": True} if clocks_apart else {}),
            },
            timeout=timedelta(seconds=remaining) + DEFERRAL_GRACE,
        )
        raise AssertionError("defer() raises")

    def wait_here(self, kling_task_id: str, deadline: float) -> dict[str, Any]:
        """Return the finished task; holds the worker until then. Raises as :meth:`wait_deferred`."""
        with self.hook.get_conn() as client:
            while True:
                answer = self.poll(client, kling_task_id)
                if not isinstance(answer, KlingError) and answer.finished:
                    return self.finish(answer, since=deadline - self.wait_seconds)
                remaining = self._remaining(kling_task_id, deadline)
                pause = max(
                    schedule.worker_interval(self.given_interval, schedule.pace_of(self._route)),
                    schedule.MIN_INTERVAL,
                    min(getattr(answer, "retry_after", None) or 0.0, MAX_RETRY_AFTER),
                )
                time.sleep(min(pause, remaining))

    def _only_triggerer_refused(self, kling_task_id: str, reason: str) -> KlingNotFinishedError:
        """Else worker and triggerer would hand the task to each other until the timeout."""
        why = f" (it cannot open connection {self.kling_conn_id!r}: {reason})" if reason else ""
        return KlingNotFinishedError(
            f"The triggerer was refused when it asked for Kling task {kling_task_id}{why}, though this worker is not: "
            "give it the same connection, clock and network. The generation is running on and will be billed.",
            kling_task_id=kling_task_id,
        )

    def _remaining(self, kling_task_id: str, deadline: float) -> float:
        remaining = deadline - time.time()
        if remaining <= 0:
            raise self.out_of_time(kling_task_id)
        return min(schedule.MAX_WAIT, remaining)

    def out_of_time(self, kling_task_id: str) -> AirflowSensorTimeout | KlingNotFinishedError:
        """Make the exception for a wait that is over; it says what the last poll said.

        A success whose results have not come is retryable, since they may still come; Airflow does not retry the other.
        """
        from airflow_kling.api.tasks import SUCCEED

        last, waited = self._last_answer, f"after {self.wait_seconds:g} s (timeout)"
        if last is not None and not isinstance(last, KlingError) and last.status == SUCCEED:
            return KlingNotFinishedError(
                f"Kling task {kling_task_id} has succeeded, but {waited} its answer still has no URL for every result: "
                "a retry waits for them anew. The generation is billed; nothing is submitted again.",
                kling_task_id=kling_task_id,
            )
        said = f" The last poll: {last}" if isinstance(last, KlingError) else ""
        return AirflowSensorTimeout(
            f"Kling task {kling_task_id} is not finished {waited}; the generation is running on and will be billed: "
            f"wait for the same id with a longer timeout to get its images.{said}"
        )

    def on_kill(self) -> None:
        """The task is killed while it waits on a worker; say what becomes of the generation."""
        if self._waiting_for:
            self.log.warning(schedule.RUNS_ON, self._waiting_for)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        *,
        kling_task_id: str = "",
        route: str = "",
        deadline: float = 0.0,
        refusals: int = 0,
        clocks_apart: bool = False,
    ) -> dict[str, Any]:
        """Resume after the trigger has fired: whatever the event claims, the API is asked.

        :param event: of :class:`~airflow_kling.triggers.task.KlingTaskTrigger`.
        :param kling_task_id: as deferred; the event's for a task that started in the triggerer, and in ``dag.test()``,
            which forgets what was deferred.
        :param route: likewise; what was deferred before there were routes has none.
        :param deadline: likewise, epoch seconds.
        :param refusals: as deferred.
        :param clocks_apart: as deferred.
        :raises KlingTaskFailed: the generation failed.
        :raises AirflowSensorTimeout: not finished at the deadline.
        """
        event = event or {}
        self._resumed_route = route or event.get("route") or ""
        with failing_fast():
            kling_task_id = kling_task_id or event["kling_task_id"]
            links.set_gallery_link(self, context, kling_task_id)  # the worker of before has forgotten it
            return self.wait_deferred(
                kling_task_id,
                deadline or self._deadline_of(event),
                patience=RESUME_PATIENCE,
                refusals=refusals + (event.get("status") == schedule.ERROR),
                reason=str(event.get("reason") or ""),
                clocks_apart=clocks_apart or event.get("status") == schedule.TIMED_OUT,
            )

    def _deadline_of(self, event: Mapping[str, Any]) -> float:
        """Return the deadline of a task that started in the triggerer; a trigger of an older release sent its own."""
        if "remaining" in event:
            return time.time() + float(event["remaining"])
        return float(event.get("deadline") or time.time() + self.wait_seconds)
