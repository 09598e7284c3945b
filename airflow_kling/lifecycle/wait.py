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
from airflow_kling.reporting import metrics

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
    poke_interval: float
    timeout: float
    _resumed_route: str = ""
    _waiting_for: str | None = None
    _finished: KlingTask | None = None

    if TYPE_CHECKING:
        log: Any
        dag_id: str
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
        from airflow_kling.api.tasks import FAILED

        self._waiting_for = kling_task_id
        metrics.polled(1, self._tags)
        try:
            task = client.get(kling_task_id, route=self._route, deadline=time.time() + patience)
        except KlingError as error:
            if not error.retryable:
                raise
            self.log.warning("Kling task %s was not polled, waiting on: %s", kling_task_id, error)
            return error
        if task.status == FAILED:
            raise task_failure(task)
        if not task.status_known:
            self._warn_once("Kling task %s has the unknown status %r; waiting on.", kling_task_id, task.status)
        return task

    @property
    def route_name(self) -> str:
        """Name of the route of the Kling task."""
        raise NotImplementedError

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
        self, kling_task_id: str, deadline: float, *, patience: float = 0, refusals: int = 0
    ) -> dict[str, Any]:
        """Return the finished task, else free the worker until the triggerer knows more.

        :param deadline: epoch seconds.
        :param refusals: how often the triggerer was refused where this worker was not; the first one may have been of
            a key that has been replaced since.
        :raises AirflowSensorTimeout: not finished at the deadline.
        """
        with self.hook.get_conn() as client:
            answer = self.poll(client, kling_task_id, patience=patience)
        if not isinstance(answer, KlingError) and answer.finished:
            return self.finish(answer, since=deadline - self.timeout)
        if refusals >= MAX_REFUSALS and not isinstance(answer, KlingError):
            raise self._only_triggerer_refused(kling_task_id)
        from airflow_kling.triggers.task import KlingTaskTrigger

        remaining = self._remaining(kling_task_id, deadline)
        self.defer(
            trigger=KlingTaskTrigger(
                kling_task_id=kling_task_id,
                route=self._route,
                kling_conn_id=self.kling_conn_id,
                poke_interval=self.poke_interval,
                deadline=deadline,
            ),
            method_name="execute_complete",
            kwargs={
                "kling_task_id": kling_task_id,
                "route": self._route,
                "deadline": deadline,
                "refusals": refusals,
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
                    return self.finish(answer, since=deadline - self.timeout)
                self._remaining(kling_task_id, deadline)
                pause = max(
                    self.poke_interval,
                    schedule.MIN_INTERVAL,
                    min(getattr(answer, "retry_after", None) or 0.0, MAX_RETRY_AFTER),
                )
                time.sleep(max(0.0, min(pause, deadline - time.time())))

    def _only_triggerer_refused(self, kling_task_id: str) -> KlingNotFinishedError:
        """Else worker and triggerer would hand the task to each other until the timeout."""
        return KlingNotFinishedError(
            f"The triggerer was refused when it asked for Kling task {kling_task_id}, though this worker is not: give "
            "it the same connection, clock and network. The generation is running on and will be billed.",
            kling_task_id=kling_task_id,
        )

    def _remaining(self, kling_task_id: str, deadline: float) -> float:
        remaining = deadline - time.time()
        if remaining <= 0:
            raise AirflowSensorTimeout(
                f"Kling task {kling_task_id} is not finished after {self.timeout:g} s (timeout); the generation is "
                "running on and will be billed: wait for the same id with a longer timeout to get its images."
            )
        return remaining

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
    ) -> dict[str, Any]:
        """Resume after the trigger has fired: whatever the event claims, the API is asked.

        :param event: of :class:`~airflow_kling.triggers.task.KlingTaskTrigger`.
        :param kling_task_id: as deferred; the event's for a task that started in the triggerer, and in ``dag.test()``,
            which forgets what was deferred.
        :param route: likewise; what was deferred before there were routes has none.
        :param deadline: likewise, epoch seconds.
        :param refusals: as deferred.
        :raises KlingTaskFailed: the generation failed.
        :raises AirflowSensorTimeout: not finished at the deadline.
        """
        event = event or {}
        self._resumed_route = route or event.get("route") or ""
        with failing_fast():
            return self.wait_deferred(
                kling_task_id or event["kling_task_id"],
                deadline or event.get("deadline") or time.time() + self.timeout,
                patience=RESUME_PATIENCE,
                refusals=refusals + (event.get("status") == schedule.ERROR),
            )
