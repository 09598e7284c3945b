"""Finds the default_args that hold for a task which is made now."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS


def default_args_here(own: dict[str, Any] | None) -> dict[str, Any]:
    """Return the default_args of the DAG, the task groups around and the task itself, the nearest first.

    :param own: of the task.
    """
    group: Any
    # There is no public name for the group that tasks are made in now, and a mapped one hands itself to nobody.
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.definitions._internal.contextmanager import TaskGroupContext

        group = TaskGroupContext.get_current()
    else:
        from airflow.utils.task_group import TaskGroupContext  # type: ignore[import-not-found, no-redef]

        group = TaskGroupContext.get_current_task_group(None)  # type: ignore[attr-defined]
    of_dag = group.dag.default_args if group and group.dag else {}
    return {**of_dag, **(group.default_args if group else {}), **(own or {})}
