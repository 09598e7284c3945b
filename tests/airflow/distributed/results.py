"""Reads what the emulator billed in a run: its ledger, with the images as it serves them."""

from __future__ import annotations

import hashlib

from tests.airflow.distributed.judge import Generation
from tests.airflow.harness.emulator import Emulator


def billed(kling: Emulator) -> list[Generation]:
    """Return what the emulator's ledger bills, each generation with its images as they are served now."""
    return [
        Generation(
            kling_task_id=task["task_id"],
            row=task["request"]["prompt"],
            images=tuple(hashlib.sha256(image).hexdigest() for image in kling.results(task)),
        )
        for task in kling.tasks("")
        if task["status"] != "failed"
    ]
