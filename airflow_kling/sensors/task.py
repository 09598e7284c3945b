"""Waits until Kling has finished a task: ``KlingTaskSensor``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.exceptions import KlingError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.rendering import TextFieldsMixin
from airflow_kling.lifecycle.start_from_trigger import (
    StartFromTriggerMixin,
    delete_former_result,
    make_offer,
    why_on_worker,
)
from airflow_kling.lifecycle.wait import KlingWaitMixin
from airflow_kling.polling import schedule
from airflow_kling.reporting import links

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage


class KlingTaskSensor(StartFromTriggerMixin, KlingWaitMixin, TextFieldsMixin, BaseSensorOperator):
    """Wait for a Kling task; return the finished task.

    Returns ``{"kling_task_id", "route", "external_task_id", "status", "status_message", "images": [{"index", "url"}],
    "created_at", "updated_at", "unit_deduction"}``, of a route that makes videos ``"videos": [{"index", "id", "url",
    "duration"}]`` too; times as ISO 8601 in UTC. The URLs expire: archive them soon.

    Raises ``KlingTaskFailed`` with the provider's reason when the generation failed (a moderation refusal is not
    retried, the same input never passes) and ``AirflowSensorTimeout`` after ``timeout``; the generation then runs on
    and is billed, Kling has no cancel call. Lost connections, 5xx, rate limits and HTML pages are waited out; a refused
    key and an unknown task are not.

    :param kling_task_id: the task, e.g. ``submit.output`` of :class:`KlingMultiImageToImageOperator`.
    :param route: of the task, which a query needs; an id without a route is of ``multi-image-to-image``.
    :param kling_conn_id: the connection, with the account that created the task.
    :param deferrable: wait in the triggerer, holding no worker. When False, ``mode`` says how: ``poke`` holds a worker
        slot all the time, ``reschedule`` takes one for each poll.
    :param poke_interval: seconds between two polls at most. By default as the route needs it: in the triggerer an image
        is polled first after 11 s, a video after a minute and then every 20 s, and the interval grows with the age; on
        a worker every 20 s.
    :param timeout: seconds until the task fails, counted from the first poll of this try; by default 3600 for images,
        7200 for videos.
    :param start_from_trigger: whether the wait starts in the triggerer, and ends there when the generation has
        succeeded, so that it takes no worker slot at all (Airflow 3.3+). None, the default: yes, unless something of
        the author's needs a worker, which the task's log then names. True: always; refused while parsing where Airflow
        cannot. False: a worker polls first. A failure resumes on a worker, so that retries, callbacks and ``soft_fail``
        work. Of a success in the triggerer Airflow emits no events for ``outlets``, and no task listener hears. There
        ``kling_task_id`` must be ``submit.output`` or a text, and each param of the DAG needs a default. A sensor in a
        mapped task group may start there; one that is itself mapped with ``expand`` begins on a worker.
    """

    template_fields: Sequence[str] = ("kling_task_id", "route", "kling_conn_id")
    text_fields = template_fields
    operator_extra_links = links.GALLERY_LINKS
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        kling_task_id: str,
        route: str = DEFAULT_ROUTE,
        kling_conn_id: str = KlingHook.default_conn_name,
        deferrable: bool = True,
        start_from_trigger: bool | None = None,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        self._given = (
            templates.optional_seconds(poke_interval, "poke_interval"),
            templates.optional_seconds(timeout, "timeout"),
        )
        # Airflow's own sensor has numbers: they are settled when the route is known.
        super().__init__(poke_interval=schedule.LONGEST_INTERVAL, timeout=schedule.LONGEST_DEADLINE, **kwargs)
        self.kling_task_id = kling_task_id
        self.route = route
        self._settle()
        self.kling_conn_id = kling_conn_id
        self.deferrable = deferrable
        make_storable(self)
        self.offer = make_offer(
            self,
            start_from_trigger,
            KlingTaskSensor,
            kling_task_id=kling_task_id,
            route=route,
            kling_conn_id=kling_conn_id,
            poke_interval=self.given_interval,
            timeout=self.given_timeout,
        )

    @property
    def route_name(self) -> str:
        """Name of the route; a template may render to nothing, for an id that was stored without one."""
        return self.route or DEFAULT_ROUTE

    @property
    def given_interval(self) -> float | None:
        """Seconds between two polls at most; None where the route decides."""
        return self._given[0]

    @property
    def given_timeout(self) -> float | None:
        """Seconds to wait; None where the route decides."""
        return self._given[1]

    def _settle(self) -> None:
        """Set what Airflow's own sensor goes by, for the modes that do not defer; a template is no route yet."""
        if templates.is_literal(self.route):
            self.poke_interval = schedule.worker_interval(self.given_interval, schedule.pace_of(self._route))
            self.timeout = self.wait_seconds

    def execute(self, context: Context) -> Any:
        """Poll once on the worker, then defer; or poke, as the mode says."""
        pokes = not self.deferrable and not self.reschedule
        links.set_gallery_link(self, context, str(self.kling_task_id), at_once=pokes)
        if obstacle := why_on_worker(self):
            self.log.info("The wait begins on a worker: start_from_trigger %s", obstacle)
        self._settle()
        with self._failing_softly(), failing_fast():
            if self.deferrable:
                return self.wait_deferred(_text(self.kling_task_id), time.time() + self.wait_seconds)
            try:
                return super().execute(context)
            except AirflowSensorTimeout:
                raise self.out_of_time(_text(self.kling_task_id)) from None

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, for the modes that do not defer."""
        with failing_fast(), self.hook.get_conn() as client:
            answer = self.poll(client, self.kling_task_id)
        if isinstance(answer, KlingError) or not answer.finished:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self.finish(answer))

    def execute_complete(self, context: Context, event: Mapping[str, Any], **state: Any) -> dict[str, Any]:
        """Resume after the trigger has fired."""
        if not state.get("kling_task_id"):  # no worker has run before
            state["kling_task_id"] = (event or {}).get("kling_task_id") or _text(self.kling_task_id)
            if self.start_from_trigger and (ti := context.get("ti")):
                delete_former_result(ti)
        with self._failing_softly():
            return super().execute_complete(context, event, **state)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """The generation and its units; after a failure, OpenLineage asks here too."""
        from airflow_kling.reporting.openlineage import operator_lineage

        units = self._finished.billed_units if self._finished else None
        return operator_lineage(kling_task_id=self._waiting_for, asked={}, units=units)

    @contextmanager
    def _failing_softly(self) -> Iterator[None]:
        """``soft_fail`` and ``never_fail``, the same in every mode."""
        try:
            yield
        except (KlingError, AirflowSensorTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failed: {error}") from None
            raise


def _text(kling_task_id: Any) -> Any:
    """A native template renders an id of digits to a number."""
    return str(kling_task_id) if isinstance(kling_task_id, int) else kling_task_id
