"""Starts runs of DAGs in a real Airflow, waits for their end, and tells what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.airflow_api import AirflowApi, label
from deploy.local.waiting import wait_for


@dataclass
class Run:
    """A finished run of a DAG.

    :param state: how it ended
    :param history: the states that were seen of each task instance, in order
    """

    api: AirflowApi
    dag_id: str
    run_id: str
    state: str
    history: dict[str, list[str]] = field(default_factory=dict)

    def instances(self) -> dict[str, dict[str, Any]]:
        return {label(one): one for one in self.api.task_instances(self.dag_id, self.run_id)}

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.instances().items()}

    def xcom(self, task_id: str, map_index: int = -1) -> Any:
        return self.api.xcom(self.dag_id, self.run_id, task_id, map_index)

    def log(self, name: str) -> str:
        return self.api.log(self.dag_id, self.run_id, self.instances()[name])

    def was_deferred(self, name: str) -> bool:
        """Tell whether a worker has handed the task on: a log says so, the history may have missed a short wait."""
        instance = self.instances()[name]
        tries = [{**instance, "try_number": number} for number in range(1, instance["try_number"] + 1)]
        return any("Pausing task as DEFERRED" in self.api.log(self.dag_id, self.run_id, one) for one in tries)

    def asset_events(self) -> list[dict[str, Any]]:
        found = self.api.get("assets/events", source_dag_id=self.dag_id, source_run_id=self.run_id)
        return list(found["asset_events"])


def start(api: AirflowApi, dag_id: str, **params: Any) -> str:
    """Start a run as soon as Airflow has the DAG, or without parameters wait for a scheduled one; returns its id."""
    api.wait_for_dag(dag_id)
    api.unpause(dag_id)
    return api.trigger(dag_id, params) if params else scheduled_run(api, dag_id)


def finish(api: AirflowApi, dag_id: str, run_id: str) -> Run:
    """Wait for the end of a run."""
    history: dict[str, list[str]] = {}
    state = api.wait_for_run(dag_id, run_id, on_change=lambda name, state: history.setdefault(name, []).append(state))
    return Run(api, dag_id, run_id, state, history)


def scheduled_run(api: AirflowApi, dag_id: str) -> str:
    """Return the id of the run that the scheduler starts by itself."""
    runs = wait_for(
        f"a scheduled run of {dag_id}", lambda: api.get(f"dags/{dag_id}/dagRuns", run_type="scheduled")["dag_runs"]
    )
    return str(runs[0]["dag_run_id"])


def files_with(secret: str, folder: Path) -> list[Path]:
    """Return the files below ``folder`` in which ``secret`` occurs."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [file for file in files if secret.encode() in file.read_bytes()]
