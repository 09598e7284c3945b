"""A real Airflow with a gallery that has something to show: finished, running, failed, and a second page."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.__main__ import wait_for_dag
from deploy.local.airflow_api import AirflowApi
from deploy.local.processes import free_ports, server, wait_until
from deploy.local.samples import draw_samples
from deploy.local.stack import CHECKOUT, USER, Airflow, airflow, emulator, emulator_connection, settings
from tests.airflow.database import Database, database
from tests.browser.auth import GUEST, SECRET_DAG

LOOKBOOK = "lookbook"
MAIN = "kling_multi_image_to_image"
SEEDED = "kling_daily"
SLOW_PROMPT = "A still life that takes its time"
REFUSED_PROMPT = "What moderation refuses"
RUN_TIMEOUT = 120.0
SEEDED_GENERATIONS = 60


@dataclass
class World:
    """What is up.

    :param url: of a second API server: the first one's parent, ``airflow standalone``, insists on its own auth manager
    :param runs: run id by DAG, of the runs that have ended
    :param passwords: by user
    :param slowness: the fault that keeps one generation from ending
    """

    airflow: Airflow
    database: Database
    url: str
    emulator: str
    samples: dict[str, Path]
    archive: Path
    runs: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    slowness: str = ""

    def start(self, dag_id: str, **conf: Any) -> str:
        """Start a run; returns its id."""
        wait_for_dag(self.airflow.api, dag_id)
        self.airflow.api.unpause(dag_id)
        return self.airflow.api.trigger(dag_id, conf)

    def start_main(self, prompt: str) -> str:
        """Start a run of the main DAG."""
        subjects = [str(self.samples[name]) for name in ("mug", "lamp")]
        return self.start(MAIN, subject_images=subjects, prompt=prompt, n=2, destination=self.archive.as_uri())

    def finish(self, dag_id: str, run_id: str) -> str:
        """Wait for a run's end; returns its state."""
        return self.airflow.api.wait_for_run(dag_id, run_id, timeout=RUN_TIMEOUT)

    def fault(self, **fault: Any) -> str:
        """Put a fault of the emulator in force; returns its id."""
        answer = httpx.post(f"{self.emulator}/_emulator/faults", json=fault, trust_env=False)
        return str(answer.raise_for_status().json()["id"])

    def let_go(self) -> None:
        """Let the slow generation end."""
        httpx.delete(f"{self.emulator}/_emulator/faults/{self.slowness}", trust_env=False).raise_for_status()


@contextmanager
def empty_world(folder: Path) -> Iterator[World]:
    """An Airflow whose gallery has nothing to show yet."""
    samples = draw_samples(folder / "samples")
    archive = folder / "archive"
    bundles = [CHECKOUT / "dags", CHECKOUT / "tests" / "browser" / "dags"]
    env = {
        "KLING_ARCHIVE": archive.as_uri(),
        "KLING_SAMPLES": str(folder / "samples"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([_bundle(path) for path in bundles]),
    }
    with ExitStack() as stack:
        kling = stack.enter_context(emulator(folder / "emulator.log", "--duration", "2", "--image-size", "768"))
        airflow_database = stack.enter_context(database())
        running = stack.enter_context(
            airflow(folder / "airflow", emulator_connection(kling), airflow_database.env | env)
        )
        url = stack.enter_context(_api_server(running.home, folder, airflow_database.env))
        of_all = json.loads((running.home / "passwords.json").read_text())
        passwords = {name: of_all[name] for name in (USER, GUEST)}
        yield World(running, airflow_database, url, kling, samples, archive, passwords=passwords)


@contextmanager
def _api_server(home: Path, folder: Path, database_env: Mapping[str, str]) -> Iterator[str]:
    """An API server of the same Airflow, with :class:`tests.browser.auth.OneDagDenied`."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    env = os.environ | settings(home, url, free_ports(2)) | database_env
    env |= {
        "PYTHONPATH": str(CHECKOUT),
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.browser.auth.OneDagDenied",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,{GUEST}:viewer",
        "AIRFLOW__KLING__GALLERY_CACHE_DIRECTORY": str(folder / "thumbnails"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
    }
    command = [str(Path(sys.executable).parent / "airflow"), "api-server", "--apps", "core"]
    log = folder / "api-server.log"
    with server(command, log=log, env=env, cwd=folder) as process, AirflowApi(url) as api:
        wait_until(api.is_healthy, process=process, log=log, timeout=120, what="The API server")
        yield url


@contextmanager
def full_world(folder: Path) -> Iterator[World]:
    """An Airflow after its runs: one still waits at Kling, one was refused, and 60 generations are from before."""
    with empty_world(folder) as world:
        fill(world, folder)
        yield world


def fill(world: World, folder: Path) -> None:
    """Run the DAGs, all at once."""
    slow = {"on": "query", "match": {"prompt": SLOW_PROMPT}}
    world.slowness = world.fault(**slow, action="unknown_status", task_status="processing")
    world.fault(on="create", match={"prompt": REFUSED_PROMPT}, action="fail_task", message="risk control")
    seed(world, folder)
    world.runs = {LOOKBOOK: world.start(LOOKBOOK), SECRET_DAG: world.start(SECRET_DAG)}
    refused = world.start_main(REFUSED_PROMPT)
    states = {dag_id: world.finish(dag_id, run_id) for dag_id, run_id in world.runs.items()}
    assert set(states.values()) == {"success"}, states
    assert world.finish(MAIN, refused) == "failed"
    world.runs[SLOW_PROMPT] = world.start_main(SLOW_PROMPT)


def seed(world: World, folder: Path) -> None:
    """Write generations of the past into Airflow's database, as their runs would have left them."""
    count = str(SEEDED_GENERATIONS)
    command = [sys.executable, "-m", "benchmarks.gallery_seed", str(folder / "seeded"), SEEDED, count, count]
    env = os.environ | {"AIRFLOW_HOME": str(world.airflow.home), "PYTHONPATH": str(CHECKOUT)} | world.database.env
    subprocess.run(command, cwd=CHECKOUT, env=env, check=True, capture_output=True)


def _bundle(folder: Path) -> dict[str, Any]:
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": folder.parent.name + folder.name, "classpath": classpath, "kwargs": {"path": str(folder)}}
