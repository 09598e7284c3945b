"""Calls Airflow's REST API: starts DAG runs, waits for them, reads what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from deploy.local.waiting import HUNG, wait_for

FINISHED = frozenset({"success", "failed"})


class AirflowApi:
    """A client of one Airflow.

    :param url: base URL of the API server
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def __enter__(self) -> AirflowApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_healthy(self) -> bool | None:
        """Return True once every component is up, else None."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return None
        if not answer.is_success:
            return None
        return all(part.get("status") == "healthy" for part in answer.json().values()) or None

    def log_in(self, user: str, password: str) -> None:
        """Get a token and send it with every later call."""
        answer = self._http.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str, **params: Any) -> Any:
        """Return the answer to GET ``/api/v2/<path>``."""
        return self._http.get(f"/api/v2/{path}", params=params).raise_for_status().json()

    def page(self, path: str, **params: Any) -> str:
        """Return a page of the UI, or of a plugin."""
        return self._http.get(path, params=params).raise_for_status().text

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to another method on ``/api/v2/<path>``."""
        return self._http.request(method, f"/api/v2/{path}", json=body).raise_for_status().json()

    def ensure_pool(self, name: str, slots: int) -> None:
        """Make a pool that counts deferred tasks, unless there is one."""
        pool = {"name": name, "slots": slots, "include_deferred": True}
        answer = self._http.post("/api/v2/pools", json=pool)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()

    def has_dag(self, dag_id: str) -> bool:
        """Tell whether the DAG processor has read this DAG."""
        return self._http.get(f"/api/v2/dags/{dag_id}").is_success

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until the DAG processor has read this DAG.

        :raises TimeoutError: it has not; has the import errors.
        """
        wait_for(f"the DAG {dag_id}", lambda: self.has_dag(dag_id), describe=self._import_errors)

    def _import_errors(self) -> str:
        errors = [error["stack_trace"] for error in self.get("importErrors")["import_errors"]]
        return f"import errors: {errors or 'none'}"

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run this DAG."""
        self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def trigger(self, dag_id: str, params: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run; returns its id.

        :param run_id: of the new run; Airflow makes one when it is None.
        """
        body = {"logical_date": None, "conf": params} | ({"dag_run_id": run_id} if run_id else {})
        answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        if answer.is_client_error:
            raise ValueError(f"Airflow refused the run: {answer.text}")
        return str(answer.raise_for_status().json()["dag_run_id"])

    def clear(self, dag_id: str, run_id: str, task_id: str, *, downstream: bool = True) -> None:
        """Clear a task of a run, and what comes after it."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self.send("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run, and all that is known of it."""
        self._http.delete(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").raise_for_status()

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Mark a task of a run as failed."""
        self.send("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": "failed"})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, mapped ones each on its own."""
        found = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=200)
        return list(found["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, map_index=map_index)["value"]

    def log(self, dag_id: str, run_id: str, instance: dict[str, Any]) -> str:
        """Return the log of a task instance's last try as text."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{instance['task_id']}/logs"
        answer = self._http.get(
            f"{path}/{instance['try_number']}",
            params={"full_content": True, "map_index": instance["map_index"]},
            headers={"Accept": "application/x-ndjson"},
        )
        return answer.text

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = HUNG,
        pause: float = 0.5,
        on_change: Callable[[str, str], None] = lambda name, state: None,
    ) -> str:
        """Wait until a run has ended; returns its state.

        :param pause: seconds between two requests.
        :param on_change: is told each new state of a task instance.
        """
        known: dict[str, str] = {}

        def ended() -> str | None:
            state = str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
            for instance in self.task_instances(dag_id, run_id):
                name = label(instance)
                if instance["state"] and known.get(name) != instance["state"]:
                    known[name] = instance["state"]
                    on_change(name, instance["state"])
            return state if state in FINISHED else None

        what = f"the end of {dag_id}"
        return wait_for(what, ended, timeout=timeout, pause=pause, describe=lambda: f"its tasks are {known}")


def label(instance: dict[str, Any]) -> str:
    """Return how a person calls a task instance."""
    index = instance["map_index"]
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
