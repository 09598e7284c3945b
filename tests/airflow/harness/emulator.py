"""Runs the Kling emulator for a real Airflow, and calls its control endpoints: faults and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local.stack import EMULATOR_KEY, emulator, emulator_connection
from deploy.local.waiting import wait_for

DURATION = 4.0  # seconds that a generation takes
PATHS = {
    ("multi-image-to-image", "cometapi"): "/kling/v1/images/generations",
    ("multi-image-to-image", "official"): "/v1/images/multi-image2image",
    ("image-generation", "cometapi"): "/kling/v1/images/generations",
    ("image-generation", "official"): "/v1/images/generations",
    ("image-to-video", "cometapi"): "/kling/v1/videos/image2video",
    ("image-to-video", "official"): "/v1/videos/image2video",
}


@dataclass(frozen=True)
class Emulator:
    """A running emulator, through its control endpoints."""

    url: str

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call a control endpoint."""
        answer = httpx.request(method, f"{self.url}/_emulator/{path}", json=body, trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def fault(self, **fault: Any) -> str:
        """Put a fault in force; returns its id."""
        return str(self.control("POST", "faults", fault)["id"])

    def remove(self, fault_id: str) -> None:
        """Take a fault away, and let the requests go on that it holds."""
        self.control("POST", f"faults/{fault_id}/release")
        self.control("DELETE", f"faults/{fault_id}")

    def hold_generations(self) -> list[str]:
        """Let every generation go on until it is let go; returns the faults that hold them."""
        return [self.fault(on=on, action="unknown_status", task_status="processing") for on in ("query", "list")]

    def advance(self, seconds: float) -> None:
        """Move its clock forward, so that generations end."""
        self.control("POST", "clock", {"advance": seconds})

    def let_go(self, held: Iterable[str]) -> None:
        """Let generations end."""
        for fault in held:
            self.remove(fault)

    def faults(self) -> dict[str, dict[str, Any]]:
        """Return the faults in force by their ids: ``hits``, ``held`` and what they are."""
        return {fault["id"]: fault for fault in self.control("GET", "faults")["faults"]}

    def is_held(self, fault_id: str, *, count: int = 1) -> bool:
        """Tell whether as many requests are held by this fault."""
        return bool(self.faults()[fault_id]["held"] >= count)

    def wait_until_held(self, fault_id: str, *, count: int = 1) -> None:
        """Wait until as many requests are held by this fault."""
        wait_for(f"a request that {fault_id} holds", lambda: self.is_held(fault_id, count=count), describe=self.faults)

    def ledger(self) -> dict[str, Any]:
        """Return what was created and billed."""
        return dict(self.control("GET", "ledger"))

    def tasks(self, token: str) -> list[dict[str, Any]]:
        """Return the tasks of the ledger with this token in their prompt, oldest first."""
        accounts = self.ledger()["accounts"].values()
        found = [
            task for account in accounts for task in account["tasks"] if token in str(task["request"].get("prompt"))
        ]
        return sorted(found, key=lambda task: task["created_at"])

    def results(self, task: dict[str, Any]) -> list[bytes]:
        """Return the bytes of a finished task's images or videos, as served now."""
        headers = {"Authorization": f"Bearer {EMULATOR_KEY}"}
        query = f"{self.url}{PATHS[task['route'], task['gateway']]}/{task['task_id']}"
        data = httpx.get(query, headers=headers, trust_env=False).raise_for_status().json()["data"]
        while "task_result" not in data:
            data = data["data"]
        made = data["task_result"]
        urls = [image["url"] for image in sorted(made.get("images", ()), key=lambda image: image["index"])]
        urls += [video["url"] for video in made.get("videos", ())]
        return [httpx.get(url, trust_env=False).raise_for_status().content for url in urls]

    def create(self, gateway: str, prompt: str, n: int, picture: str, *, route: str) -> str:
        """Submit a generation outside of Airflow; returns its id."""
        subjects = [{"subject_image": picture}, {"subject_image": picture}]
        own: dict[str, Any] = {
            "multi-image-to-image": {"model_name": "kling-v2", "n": n, "subject_image_list": subjects},
            "image-generation": {"model_name": "kling-v3", "n": n},
            "image-to-video": {"model_name": "kling-v3", "image": picture, "duration": "3"},
        }[route]
        body = {**own, "prompt": prompt}
        headers = {"Authorization": f"Bearer {EMULATOR_KEY}"}
        answer = httpx.post(f"{self.url}{PATHS[route, gateway]}", json=body, headers=headers, trust_env=False)
        data = answer.raise_for_status().json()["data"]
        return str(data["task_id"] if isinstance(data, dict) else data)

    def connection(self, gateway: str = "cometapi") -> dict[str, Any]:
        """Return the Airflow connection to it."""
        connection = emulator_connection(self.url)
        return {**connection, "extra": {"gateway": gateway, "allow_private_hosts": True}}


@contextmanager
def running_emulator(
    log: Path, *options: str, duration: float | str = DURATION, image_size: int = 320
) -> Iterator[Emulator]:
    """Run an emulator on a free port.

    :param options: more of its command line.
    :param duration: seconds that a generation takes, or their distribution.
    """
    given = ("--duration", str(duration), "--image-size", str(image_size))
    with emulator(log, *given, *options) as url:
        yield Emulator(url)
