"""What a whole DAG run has left: states of its tasks, manifests of its archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def states(dag_run: Any) -> dict[str, str]:
    return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in dag_run.get_task_instances()}


def manifests(archive: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(archive.glob("*/manifest.json"))]
