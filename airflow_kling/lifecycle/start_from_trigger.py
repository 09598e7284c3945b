"""Decides whether a task can start in the triggerer, and makes what the triggerer renders (Airflow 3.3+)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, ParamValidationError, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.wait import DEFERRAL_GRACE

log = logging.getLogger(__name__)

_CALLED = "which only a worker calls"
_LIMIT = "which Airflow checks only before it queues a task"

#: What an author may give to a task that Airflow 3.3.2 heeds only on a worker, or heeds otherwise in the triggerer: the
#: attribute, its value where the author gave none, and why. Failures, retries and skips resume on a worker, so that
#: their callbacks, delays and policies are not in it.
NEEDS_WORKER: Mapping[str, tuple[Any, str]] = {
    "on_execute_callback": (None, _CALLED),
    "on_success_callback": (None, _CALLED),  # the triggerer hands it to the DAG processor, which drops it
    "_pre_execute_hook": (None, _CALLED),
    "_post_execute_hook": (None, _CALLED),
    "outlets": (None, "whose events only a worker emits"),
    "map_index_template": (None, "which only a worker renders"),
    "do_xcom_push": (True, "which only a worker heeds"),
    "multiple_outputs": (False, "which only a worker heeds"),
    "execution_timeout": (None, "which would end the whole wait, not only a worker's part of it"),
    "pool": ("default_pool", _LIMIT),
    "max_active_tis_per_dag": (None, _LIMIT),
    "max_active_tis_per_dagrun": (None, _LIMIT),
}
XCOM_BACKENDS_OF_AIRFLOW = ("airflow.sdk.execution_time.xcom.BaseXCom", "airflow.models.xcom.BaseXCom")


@dataclass(frozen=True)
class Offer:
    """What a task offers Airflow for a start in the triggerer.

    :ivar wish: True and False are the author's, None leaves it open.
    :ivar kind: class of the task, unless it is one of the author's.
    :ivar trigger_kwargs: of the trigger; empty where it cannot start there.
    :ivar timeout: seconds, Airflow's own limit of the wait.
    :ivar refused: why not, as the end of a sentence.
    """

    wish: bool | None
    kind: type
    trigger_kwargs: dict[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    refused: str | None = None


class TaskProperty:
    """A property of a task; of its class it is a plain value, which Airflow reads there for a task that is mapped.

    Airflow reads it when it serializes the DAG: by then cluster policies and later assignments have been made. A value
    that is assigned to the task comes first.
    """

    def __init__(self, read: Callable[[Any], Any], *, of_class: Any) -> None:
        self._read = read
        self._of_class = of_class

    def __get__(self, task: Any, owner: type) -> Any:
        return self._of_class if task is None else self._read(task)


class StartFromTriggerMixin:
    """A task that may start in the triggerer: to be named before ``BaseOperator``; ``__init__`` makes its offer."""

    offer: Offer | None = None
    start_from_trigger: Any = TaskProperty(lambda task: starts_from_trigger(task), of_class=False)
    start_trigger_args: Any = TaskProperty(lambda task: start_trigger_args(task), of_class=None)

    def _validate_start_from_trigger_kwargs(self) -> None:
        """Airflow's check while parsing would load code of the triggerer into each task's process."""


def make_offer(task: Any, wish: bool | None, kind: type, **trigger_kwargs: Any) -> Offer:
    """Make the offer of a task, of its fields as they are before they are rendered.

    :raises KlingInputError: the author wishes what Airflow cannot do.
    """
    left_open = wish is None
    if wish is False or (left_open and not (AIRFLOW_V_3_3_PLUS and task.deferrable)):
        return Offer(False, kind)
    try:
        check_can_start(deferrable=task.deferrable)
        if left_open:
            check_literals(trigger_kwargs)
        rendered = {
            name: rendered_in_triggerer(name, trigger_kwargs[name], task) for name in ("kling_task_id", "route")
        }
        check_params(task.params)
    except KlingInputError as error:
        if not left_open:
            raise KlingInputError(f"start_from_trigger of task {task.task_id!r} {error}") from None
        return Offer(wish, kind, refused=str(error))
    return Offer(wish, kind, trigger_kwargs | rendered, task.timeout)


def starts_from_trigger(task: Any) -> bool:
    """Tell whether a task starts in the triggerer."""
    offer: Offer | None = task.offer
    if offer is None or not task.deferrable:  # Airflow's own part of the task is being made, or a policy said so
        return False
    return why_on_worker(task) is None if offer.wish is None else offer.wish


def start_trigger_args(task: Any) -> Any:
    """Return what Airflow starts the task with, None where it cannot."""
    offer: Offer | None = task.offer
    if offer is None or not offer.trigger_kwargs:
        return None
    from airflow.triggers.base import StartTriggerArgs

    return StartTriggerArgs(
        trigger_cls="airflow_kling.triggers.task.KlingTaskTrigger",
        trigger_kwargs={**offer.trigger_kwargs, "kling_conn_id": task.kling_conn_id, "end_from_trigger": True},
        next_method="execute_complete",
        timeout=timedelta(seconds=offer.timeout) + DEFERRAL_GRACE,
    )


def delete_former_result(ti: Any) -> None:
    """Delete the result of an earlier try, as Airflow does when a try starts on a worker."""
    from airflow.providers.common.compat.sdk import XCom

    try:
        of_ti = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
        XCom.delete(key="return_value", **of_ti)
    except Exception as error:  # whatever Airflow's API has to say; the task has its own end
        log.warning("The result of an earlier try was not deleted: %s", type(error).__name__)


def why_on_worker(task: Any) -> str | None:
    """Return what keeps a task that leaves it open from a start in the triggerer, as the end of a sentence."""
    offer: Offer = task.offer
    if offer.wish is not None:
        return None
    return (
        offer.refused
        or refused_connection(task)
        or given_for_worker(task, offer.kind)
        or mapped_over(task)
        or refused_params(task)
        or refused_config()
    )


def given_for_worker(task: Any, kind: type) -> str | None:
    """Return what the author gave to a task that needs a worker, as the end of a sentence.

    :param kind: class of the task, unless it is one of the author's.
    """
    for name, (default, why) in NEEDS_WORKER.items():
        value = getattr(task, name, default)
        if value != default if default else value:
            return f"does not go with {name.removeprefix('_').removesuffix('_hook')}, {why}."
    if type(task) is not kind:
        return f"does not go with class {type(task).__name__}, whose own code only a worker runs."
    return None


def refused_connection(task: Any) -> str | None:
    """Return why the connection forbids it, as the end of a sentence: a cluster policy may have named it since."""
    try:
        check_literals({"kling_conn_id": task.kling_conn_id})
    except KlingInputError as error:
        return str(error)
    return None


def mapped_over(task: Any) -> str | None:
    """Return who is mapped over the result, as the end of a sentence: an XCom of the triggerer leaves no length."""
    if not (task.get_dag() and any(one.get_needs_expansion() for one in task.downstream_list)):
        return None  # the next call walks the whole DAG
    mapped = next(task.iter_mapped_dependants(), None)
    if mapped is None:
        return None
    return f"does not go with {mapped.node_id!r}, which is mapped over its result: only a worker stores the length."


def refused_params(task: Any) -> str | None:
    """Return which param forbids it, as the end of a sentence: the DAG may have been given more since."""
    dag = task.get_dag()
    try:
        for params in (task.params, *([dag.params] if dag else [])):
            check_params(params)
    except KlingInputError as error:
        return str(error)
    return None


def refused_config() -> str | None:
    """Return what in Airflow's configuration forbids it, as the end of a sentence."""
    if conf.get("core", "xcom_backend", fallback=XCOM_BACKENDS_OF_AIRFLOW[0]) not in XCOM_BACKENDS_OF_AIRFLOW:
        return "does not go with [core] xcom_backend, whose own code would block the triggerer."
    if conf.getboolean("triggerer", "queues_enabled", fallback=False):
        return "does not go with [triggerer] queues_enabled, since Airflow then gives the wait to no queue."
    return None


def check_literals(fields: Mapping[str, Any]) -> None:
    """Check that no text is a template: the triggerer knows no macros of the DAG, and hangs on some of Airflow's.

    :raises KlingInputError: one is, as the end of a sentence.
    """
    for name, value in fields.items():
        if isinstance(value, str) and not templates.is_literal(value):
            raise KlingInputError(f"does not go with the template in {name}, which may need a worker.")


def check_can_start(*, deferrable: bool) -> None:
    """Check that a task can start in the triggerer at all.

    :raises KlingInputError: it cannot, as the end of a sentence.
    """
    if not AIRFLOW_V_3_3_PLUS:
        raise KlingInputError("needs Airflow 3.3 or newer: leave it out, and the sensor defers from a worker.")
    if not deferrable:
        raise KlingInputError("needs deferrable=True.")


def check_params(params: Any) -> None:
    """Airflow's triggerer resolves the params of a DAG before it knows the values of the run.

    Where one has no default, Airflow 3.3.2 ends the whole triggerer, and then the next one. A default that the schema
    does not allow is none to it, since it knows no schema there.

    :raises KlingInputError: that would happen, as the end of a sentence.
    """
    for name in params:
        try:
            Param(params.get_param(name).value).resolve()  # as the triggerer does
        except ParamValidationError:
            raise KlingInputError(f"needs a default for param {name!r}, or Airflow's triggerers end.") from None


def rendered_in_triggerer(name: str, value: Any, task: Any) -> str:
    """A field as a literal or a template that Airflow 3.3 can render in the triggerer.

    An ``xcom_pull`` without ``map_indexes`` hangs there, and the output of another task is not resolved, so the latter
    becomes an ``xcom_pull`` with the map index of the one instance that is meant.

    :param name: of the field.
    :raises KlingInputError: it cannot be rendered there, as the end of a sentence.
    """
    if isinstance(value, str):
        if "xcom_pull" in value and "map_indexes" not in value:
            raise KlingInputError(
                f"cannot use {name}={value!r}: Airflow's triggerer hangs on a plain xcom_pull. Write "
                f"{name}=submit.output, or xcom_pull(..., map_indexes=-1)."
            )
        return value
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    if not isinstance(value, PlainXComArg) or isinstance(value.operator, MappedOperator):
        raise KlingInputError(f"needs {name} to be a text or submit.output, not {value!r}.")
    upstream = value.operator
    group = upstream.get_closest_mapped_task_group()
    if group is not None and group is not task.get_closest_mapped_task_group():
        raise KlingInputError(f"needs task {upstream.task_id!r} to be in the same mapped task group.")
    map_index = "ti.map_index" if group is not None else "-1"
    pull = f"ti.xcom_pull(task_ids={upstream.task_id!r}, key={value.key!r}, map_indexes={map_index})"
    return "{{ " + pull + " }}"
