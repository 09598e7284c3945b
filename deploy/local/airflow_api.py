"""The few calls of Airflow's REST API that the demonstration and the system tests make."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

FINISHED = frozenset({"success", "failed"})


class AirflowApi:
    """A client of one Airflow.

    :param url: base URL of the API server
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

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

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
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

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run this DAG."""
        self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def trigger(self, dag_id: str, params: dict[str, Any]) -> str:
        """Start a run; returns its id."""
        body = {"logical_date": None, "conf": params}
        answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        if answer.is_client_error:
            raise ValueError(f"Airflow refused the run: {answer.text}")
        return str(answer.raise_for_status().json()["dag_run_id"])

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
        self, dag_id: str, run_id: str, *, timeout: float, on_change: Callable[[str, str], None] | None = None
    ) -> str:
        """Wait until a run has ended; returns its state, and tells ``on_change`` each new state of a task."""
        known: dict[str, str] = {}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
            for instance in self.task_instances(dag_id, run_id):
                name = label(instance)
                if instance["state"] and known.get(name) != instance["state"]:
                    known[name] = instance["state"]
                    if on_change:
                        on_change(name, instance["state"])
            if state in FINISHED:
                return state
            time.sleep(0.5)
        raise TimeoutError(f"{dag_id} has not ended after {timeout:.0f} s; its tasks: {known}")


def label(instance: dict[str, Any]) -> str:
    """Return how a person calls a task instance."""
    index = instance["map_index"]
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
