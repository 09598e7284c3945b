"""Fills the gallery of a real Airflow: finished, running and failed generations, and a second page."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.paths import CHECKOUT
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import finish, start
from tests.airflow.harness.shared import Shared
from tests.integration.plugins.gallery.auth import DENIED_DAG

LOOKBOOK = "lookbook"
CLIPS = "clips"
MAIN = "kling_multi_image_to_image"
SEEDED = "kling_daily"
SLOW_PROMPT = "A still life that takes its time"
REFUSED_PROMPT = "What moderation refuses"
SEEDED_GENERATIONS = 60


@dataclass
class World:
    """A running Airflow, and what its gallery shows.

    :param runs: run id by DAG, of the runs that have ended
    :param unfinished: the fault that keeps one generation from ending
    """

    airflow: Airflow3
    kling: Emulator
    samples: dict[str, Path]
    archive: Path
    runs: dict[str, str] = field(default_factory=dict)
    unfinished: str = ""

    @property
    def url(self) -> str:
        """Return the base URL of Airflow."""
        return self.airflow.url

    @property
    def passwords(self) -> dict[str, str]:
        """Return the passwords by user."""
        return self.airflow.passwords

    def start_main(self, prompt: str) -> str:
        """Start a run of the main DAG; returns its id."""
        subjects = [str(self.samples[name]) for name in ("mug", "lamp")]
        params = {"subject_images": subjects, "prompt": prompt, "n": 2, "destination": self.archive.as_uri()}
        return start(self.airflow.api, MAIN, **params)

    def finish(self, dag_id: str, run_id: str) -> str:
        """Wait for a run's end; returns its state."""
        return finish(self.airflow.api, dag_id, run_id).state

    def let_generation_end(self) -> None:
        """Let the slow generation end."""
        self.kling.remove(self.unfinished)


def empty_world(shared: Shared) -> World:
    """Return the shared Airflow, whose gallery has nothing of these tests to show yet."""
    return World(shared.airflow, shared.kling, shared.samples, shared.catalog / "archive")


def fill(world: World, folder: Path) -> None:
    """Run the DAGs, all at once."""
    slow = {"on": "query", "match": {"prompt": SLOW_PROMPT}}
    world.unfinished = world.kling.fault(**slow, action="unknown_status", task_status="processing")
    world.kling.fault(on="create", match={"prompt": REFUSED_PROMPT}, action="fail_task", message="risk control")
    seed(world, folder)
    api = world.airflow.api
    for dag_id in (LOOKBOOK, CLIPS, DENIED_DAG):
        api.wait_for_dag(dag_id)
        api.unpause(dag_id)
        world.runs[dag_id] = api.trigger(dag_id, {})
    refused = world.start_main(REFUSED_PROMPT)
    states = {dag_id: world.finish(dag_id, run_id) for dag_id, run_id in world.runs.items()}
    assert set(states.values()) == {"success"}, states
    assert world.finish(MAIN, refused) == "failed"
    world.runs[SLOW_PROMPT] = world.start_main(SLOW_PROMPT)


def seed(world: World, folder: Path) -> None:
    """Write generations of the past into Airflow's database, as their runs would have left them."""
    module, count = "tests.integration.plugins.gallery.seed", str(SEEDED_GENERATIONS)
    command = [sys.executable, "-m", module, str(folder / "seeded"), SEEDED, count, count]
    subprocess.run(command, cwd=CHECKOUT, env=world.airflow.env, check=True, capture_output=True)
