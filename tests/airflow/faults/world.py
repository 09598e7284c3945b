"""Starts what the rows need: an Airflow of one release line, two emulators, and the reference images."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from airflow_kling.api.routes import DEFAULT_ROUTE
from deploy.local.waiting import wait_for
from tests.airflow.faults.model import AIRFLOW_3, dag_id
from tests.airflow.harness.airflows import Airflow, airflow_2, airflow_3
from tests.airflow.harness.emulator import Emulator, running_emulator
from tests.airflow.harness.receiver import SECRET, running_receiver
from tests.airflow.harness.users import User

DAGS = Path(__file__).parent / "dags"
ROUTES = (DEFAULT_ROUTE, "image-generation", "image-to-video")
DAG_IDS = tuple(dag_id(dag, route) for dag in ("apart", "together", "compact", "archive") for route in ROUTES)
MARKS, SAMPLES = "KLING_FAULTS_MARKS", "KLING_FAULTS_SAMPLES"
OPTIONS = {"strict": (), "lenient": ("--allow-duplicate-external-ids",)}

# Airflow notices a dead worker after some 20 s, and a stopped triggerer after 6 s, not after minutes.
IMPATIENT = {
    "core__parallelism": 6,
    "core__max_active_tasks_per_dag": 100,
    "dag_processor__min_file_process_interval": 3600,
    "scheduler__min_file_process_interval": 3600,
    "scheduler__task_instance_heartbeat_timeout": 20,
    "scheduler__task_instance_heartbeat_timeout_detection_interval": 3,
    "scheduler__scheduler_idle_sleep_time": 0.5,
    "scheduler__scheduler_heartbeat_sec": 2,
    "scheduler__max_dagruns_per_loop_to_schedule": 100,
    "scheduler__trigger_timeout_check_interval": 5,
    "triggerer__job_heartbeat_sec": 1,
    "triggerer__triggerer_health_check_threshold": 6,
    "workers__min_heartbeat_interval": 2,
}


@dataclass(frozen=True)
class World:
    """A running Airflow, and the emulators it talks to.

    :param user: starts runs and interferes with them.
    :param emulators: by account.
    :param picture: a reference image in base64, for generations that are paid for beforehand.
    :param another: starts another Airflow with the same DAGs and connections, by a name for it.
    :param given_up: is set when nobody waits for rows any more.
    """

    airflow: Airflow
    user: User
    emulators: dict[str, Emulator]
    picture: str
    another: Callable[[str], AbstractContextManager[User]]
    given_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def world(line: str, home: Path) -> Iterator[World]:
    """Start everything on free ports; nothing of it is left afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    samples = [_sample(home / f"{colour}.png", colour) for colour in ("tomato", "steelblue")]
    env = {MARKS: str(home / "airflow" / "marks"), SAMPLES: os.pathsep.join(map(str, samples))}
    picture = base64.b64encode(samples[0].read_bytes()).decode()
    with ExitStack() as ends:
        emulators = {
            account: ends.enter_context(running_emulator(home / f"emulator-{account}.log", *options))
            for account, options in OPTIONS.items()
        }
        connections = {
            f"kling_{gateway}_{account}": emulator.connection(gateway)
            for account, emulator in emulators.items()
            for gateway in ("cometapi", "official")
        }
        records = (home / "records").as_uri()
        receiver = ends.enter_context(running_receiver(home / "receiver.log", records))
        for name, connection in list(connections.items()):
            extra = {**connection["extra"], "record_store": records}
            connections[f"{name}_records"] = {**connection, "extra": extra}
            extra = {**extra, "callback_base_url": receiver, "callback_secret": SECRET}
            connections[f"{name}_receiver"] = {**connection, "extra": extra}
        start = _airflow_3 if line == AIRFLOW_3 else _airflow_2

        @contextmanager
        def another(name: str) -> Iterator[User]:
            with start(home / name, connections, env) as (_, other):
                yield other

        airflow, user = ends.enter_context(start(home / "airflow", connections, env))
        yield World(airflow, user, emulators, picture, another)


@contextmanager
def _airflow_3(
    home: Path, connections: Mapping[str, Mapping[str, Any]], env: Mapping[str, str]
) -> Iterator[tuple[Airflow, User]]:
    with airflow_3(home, connections, dags=[DAGS], options=IMPATIENT, env=env, has_queues=True) as airflow:
        for dag_id in DAG_IDS:
            airflow.api.wait_for_dag(dag_id)
            airflow.api.unpause(dag_id)
        yield airflow, airflow.api


@contextmanager
def _airflow_2(
    home: Path, connections: Mapping[str, Mapping[str, Any]], env: Mapping[str, str]
) -> Iterator[tuple[Airflow, User]]:
    with airflow_2(home, connections, dags=DAGS, options=IMPATIENT, env=env) as (airflow, user):

        def has_dags() -> bool:
            return len(airflow.database.rows("select dag_id from serialized_dag")) == len(DAG_IDS)

        wait_for("the DAGs", has_dags, check=airflow.check)
        yield airflow, user


def _sample(file: Path, colour: str) -> Path:
    Image.new("RGB", (320, 320), colour).save(file)
    return file
