"""The emulators of the table: faults go in, the ledger comes out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local.stack import EMULATOR_KEY, emulator

DURATION = 4.0  # seconds that a generation takes
ROUTES = {"cometapi": "/kling/v1/images/generations", "official": "/v1/images/multi-image2image"}


@dataclass(frozen=True)
class Kling:
    """One emulator, seen from behind: its ledger is the judge."""

    url: str

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call a control endpoint."""
        answer = httpx.request(method, f"{self.url}/_emulator/{path}", json=body, trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def fault(self, **fault: Any) -> str:
        """Put a fault in force; answers its id."""
        return str(self.control("POST", "faults", fault)["id"])

    def remove(self, fault_id: str) -> None:
        """Take a fault away, and let go whom it holds."""
        self.control("POST", f"faults/{fault_id}/release")
        self.control("DELETE", f"faults/{fault_id}")

    def wait_until_held(self, fault_id: str, *, count: int = 1, timeout: float = 120.0) -> None:
        """Wait until as many requests stand still at this fault."""
        deadline = time.monotonic() + timeout
        while not any(
            fault["id"] == fault_id and fault["held"] >= count for fault in self.control("GET", "faults")["faults"]
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no request was held by {fault_id}")
            time.sleep(0.3)

    def tasks(self, token: str) -> list[dict[str, Any]]:
        """What was created with this token in its prompt, oldest first."""
        accounts = self.control("GET", "ledger")["accounts"].values()
        found = [
            task for account in accounts for task in account["tasks"] if token in str(task["request"].get("prompt"))
        ]
        return sorted(found, key=lambda task: task["created_at"])

    def images(self, task: dict[str, Any]) -> list[bytes]:
        """The bytes of a finished task's images, as served now."""
        headers = {"Authorization": f"Bearer {EMULATOR_KEY}"}
        route = f"{self.url}{ROUTES[task['gateway']]}/{task['task_id']}"
        data = httpx.get(route, headers=headers, trust_env=False).raise_for_status().json()["data"]
        while "task_result" not in data:
            data = data["data"]
        urls = [image["url"] for image in sorted(data["task_result"]["images"], key=lambda image: image["index"])]
        return [httpx.get(url, trust_env=False).raise_for_status().content for url in urls]

    def create(self, gateway: str, prompt: str, n: int, picture: str) -> str:
        """Pay for a generation outside of Airflow; answers its id."""
        body = {
            "model_name": "kling-v2",
            "prompt": prompt,
            "n": n,
            "subject_image_list": [{"subject_image": picture}, {"subject_image": picture}],
        }
        headers = {"Authorization": f"Bearer {EMULATOR_KEY}"}
        answer = httpx.post(f"{self.url}{ROUTES[gateway]}", json=body, headers=headers, trust_env=False)
        data = answer.raise_for_status().json()["data"]
        return str(data["task_id"] if isinstance(data, dict) else data)

    def connection(self, gateway: str) -> str:
        """The Airflow connection to it."""
        extra = {"gateway": gateway, "allow_private_hosts": True}
        return json.dumps({"conn_type": "kling", "host": self.url, "password": EMULATOR_KEY, "extra": extra})


@contextmanager
def kling(log: Path, *options: str) -> Iterator[Kling]:
    """Run an emulator."""
    with emulator(log, "--duration", str(DURATION), "--image-size", "320", *options) as url:
        yield Kling(url)
