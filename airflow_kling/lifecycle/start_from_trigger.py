"""Decides whether a task can start in the triggerer, and makes what the triggerer renders (Airflow 3.3+)."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import ParamValidationError
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_kling.exceptions import KlingInputError


def check_can_start(*, deferrable: bool) -> None:
    """Check that a task can start in the triggerer at all.

    :raises KlingInputError: it cannot, as the end of a sentence.
    """
    if not AIRFLOW_V_3_3_PLUS:
        raise KlingInputError("needs Airflow 3.3 or newer: leave it out, and the sensor defers from a worker.")
    if not deferrable:
        raise KlingInputError("needs deferrable=True.")


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
