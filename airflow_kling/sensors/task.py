"""``KlingTaskSensor``: wait until Kling has generated the images of a task."""

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
    ParamValidationError,
    PokeReturnValue,
)

from airflow_kling import links, metrics, pacing
from airflow_kling.dag_params import make_storable
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.failures import failing_fast
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.waiting import DEFERRAL_GRACE, KlingWaitMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage


class KlingTaskSensor(KlingWaitMixin, BaseSensorOperator):
    """Wait for a Kling task; return the finished task.

    Returns ``{"kling_task_id", "external_task_id", "status", "status_message", "images": [{"index", "url"}],
    "created_at", "updated_at", "unit_deduction"}``, times as ISO 8601 in UTC. The URLs expire: archive them soon.

    Raises ``KlingTaskFailed`` with the provider's reason when the generation failed (a moderation refusal is not
    retried, the same input never passes) and ``AirflowSensorTimeout`` after ``timeout``; the generation then runs on
    and is billed, Kling has no cancel call. Lost connections, 5xx, rate limits and HTML pages are waited out; a refused
    key and an unknown task are not.

    :param kling_task_id: the task, e.g. ``submit.output`` of :class:`KlingMultiImageToImageOperator`.
    :param kling_conn_id: the connection, with the account that created the task.
    :param deferrable: wait in the triggerer, holding no worker. When False, ``mode`` says how: ``poke`` holds a worker
        slot all the time, ``reschedule`` takes one for each look.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds until the task fails, counted from the first look of this try.
    :param start_from_trigger: go straight to the triggerer, and when the generation succeeded end there: the wait takes
        no worker slot at all (Airflow 3.3+). Failures resume on a worker, so that retries, callbacks and ``soft_fail``
        work. It costs that Airflow emits no events for ``outlets`` and calls no task listeners for such a success.
        ``kling_task_id`` must be ``submit.output`` or a text, and each param of the DAG needs a valid default. In a
        mapped task group it works; a sensor that is itself mapped with ``expand`` defers from a worker all the same.
    """

    template_fields: Sequence[str] = ("kling_task_id", "kling_conn_id")
    operator_extra_links = links.GALLERY_LINKS
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        kling_task_id: str,
        kling_conn_id: str = KlingHook.default_conn_name,
        deferrable: bool = True,
        start_from_trigger: bool = False,
        poke_interval: timedelta | float = pacing.POKE_INTERVAL,
        timeout: timedelta | float = pacing.TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.kling_task_id = kling_task_id
        self.kling_conn_id = kling_conn_id
        self.deferrable = deferrable
        if start_from_trigger:
            self._start_from_trigger()
        make_storable(self)

    def _start_from_trigger(self) -> None:
        from airflow.triggers.base import StartTriggerArgs

        try:
            kling_task_id = rendered_in_triggerer(self.kling_task_id, self, deferrable=self.deferrable)
            check_params(self.params)
        except KlingInputError as error:
            raise KlingInputError(f"start_from_trigger of task {self.task_id!r} {error}") from None
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_kling.triggers.task.KlingTaskTrigger",
            trigger_kwargs={
                "kling_task_id": kling_task_id,
                "kling_conn_id": self.kling_conn_id,
                "poke_interval": self.poke_interval,
                "timeout": self.timeout,
                "end_from_trigger": True,
            },
            next_method="execute_complete",
            timeout=timedelta(seconds=self.timeout) + DEFERRAL_GRACE,
        )

    def execute(self, context: Context) -> Any:
        """Look once on the worker, then defer; or poke, as the mode says."""
        links.push_gallery_link(context, str(self.kling_task_id))
        with self._failing_softly(), failing_fast():
            if self.deferrable:
                return self.wait_deferred(_text(self.kling_task_id), time.time() + self.timeout)
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """One look, for the modes that do not defer."""
        with failing_fast(), self.hook.get_conn() as client:
            look = self.look(client, self.kling_task_id)
        if isinstance(look, KlingError) or not look.finished:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self.finish(look))

    def execute_complete(self, context: Context, event: Mapping[str, Any], **state: Any) -> dict[str, Any]:
        """Resume after the trigger has fired."""
        if self.start_from_trigger:  # no worker has run before
            links.push_gallery_link(context, event["kling_task_id"])
        with self._failing_softly():
            return super().execute_complete(context, event, **state)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """The generation and its units; after a failure, OpenLineage asks here too."""
        from airflow_kling.openlineage import operator_lineage

        units = metrics.units_of(self._finished.unit_deduction) if self._finished else None
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


def check_params(params: Any) -> None:
    """Airflow's triggerer validates the defaults of a DAG's params before it knows the values of the run.

    Where a default is missing or invalid, Airflow 3.3.2 ends the whole triggerer, and then the next one.

    :raises KlingInputError: that would happen, as the end of a sentence.
    """
    try:
        params.validate()
    except ParamValidationError as error:
        raise KlingInputError(
            "needs a valid default for each param of the DAG and the task, or Airflow's triggerers end: "
            f"{str(error).partition(chr(10))[0]}"
        ) from None


def rendered_in_triggerer(kling_task_id: Any, task: Any, *, deferrable: bool) -> str:
    """``kling_task_id`` as a literal or a template that Airflow 3.3 can render in the triggerer.

    An ``xcom_pull`` without ``map_indexes`` hangs there, and the output of another task is not resolved, so the latter
    becomes an ``xcom_pull`` with the map index of the one instance that is meant.

    :raises KlingInputError: it cannot be rendered there, as the end of a sentence.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

    if not AIRFLOW_V_3_3_PLUS:
        raise KlingInputError("needs Airflow 3.3 or newer: leave it out, and the sensor defers from a worker.")
    if not deferrable:
        raise KlingInputError("needs deferrable=True.")
    if isinstance(kling_task_id, str):
        if "xcom_pull" in kling_task_id and "map_indexes" not in kling_task_id:
            raise KlingInputError(
                f"cannot use kling_task_id={kling_task_id!r}: Airflow's triggerer hangs on a plain xcom_pull. Write "
                "kling_task_id=submit.output, or xcom_pull(..., map_indexes=-1)."
            )
        return kling_task_id
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    if not isinstance(kling_task_id, PlainXComArg) or isinstance(kling_task_id.operator, MappedOperator):
        raise KlingInputError(f"needs kling_task_id to be a text or submit.output, not {kling_task_id!r}.")
    upstream = kling_task_id.operator
    group = upstream.get_closest_mapped_task_group()
    if group is not None and group is not task.get_closest_mapped_task_group():
        raise KlingInputError(f"needs task {upstream.task_id!r} to be in the same mapped task group.")
    map_index = "ti.map_index" if group is not None else "-1"
    pull = f"ti.xcom_pull(task_ids={upstream.task_id!r}, key={kling_task_id.key!r}, map_indexes={map_index})"
    return "{{ " + pull + " }}"
