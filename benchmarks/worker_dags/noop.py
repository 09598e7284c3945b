"""A task that does nothing: what every task costs."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, BaseOperator


class Nothing(BaseOperator):
    """Does nothing."""

    def execute(self, context: Any) -> None:
        """Return at once."""


with DAG("noop", schedule=None):
    Nothing(task_id="noop")
