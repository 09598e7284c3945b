"""Tests one run of the main DAG on the real Airflow of this environment, 2.11 or 3.x: paid once, archived to the byte.

Below Airflow 3.3 the connection names a record store. ``make matrix`` runs this on every line.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from deploy.local.paths import CHECKOUT
from deploy.local.samples import draw_samples
from deploy.local.waiting import wait_for
from tests.airflow.harness.airflows import Airflow, airflow_2, airflow_3
from tests.airflow.harness.emulator import Emulator, running_emulator
from tests.airflow.harness.users import User

DAG_ID, RUN_ID = "kling_multi_image_to_image", "by-the-matrix"
PROMPT = "A mug and a plant by the window"
DAGS = CHECKOUT / "dags"


@dataclass(frozen=True)
class Line:
    """What a finished run has left.

    :param folder: of the archive and the records.
    """

    airflow: Airflow
    kling: Emulator
    folder: Path
    states: dict[str, str]


@contextmanager
def running(home: Path, connections: dict[str, Any]) -> Iterator[tuple[Airflow, User]]:
    if AIRFLOW_V_3_0_PLUS:
        with airflow_3(home, connections, dags=[DAGS]) as airflow:
            airflow.api.wait_for_dag(DAG_ID)
            airflow.api.unpause(DAG_ID)
            yield airflow, airflow.api
    else:
        with airflow_2(home, connections, dags=DAGS, python=Path(sys.executable)) as (airflow, user):
            query = "select dag_id from serialized_dag where dag_id = %s"
            wait_for("the DAG", lambda: airflow.database.rows(query, DAG_ID), check=airflow.check)
            yield airflow, user


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    params = {
        "subject_images": [str(samples["mug"]), samples["plant"].as_uri()],
        "prompt": PROMPT,
        "n": 2,
        "destination": (folder / "archive").as_uri(),
    }
    with running_emulator(folder / "emulator.log", duration=3) as kling:
        # However slowly Airflow starts the wait, its first poll finds the generation unfinished.
        kling.fault(on="query", match={"prompt": PROMPT}, action="unknown_status", times=1)
        connection = kling.connection()
        if not AIRFLOW_V_3_3_PLUS:
            connection["extra"]["record_store"] = (folder / "records").as_uri()
        with running(folder / "airflow", {"kling_default": connection}) as (airflow, user):
            user.trigger(DAG_ID, params, RUN_ID)
            wait_for("the end of the run", lambda: has_ended(airflow), check=airflow.check)
            yield Line(airflow, kling, folder, states(airflow))


def has_ended(airflow: Airflow) -> bool:
    query = "select state from dag_run where dag_id = %s and run_id = %s"
    [run] = airflow.database.rows(query, DAG_ID, RUN_ID)
    return run["state"] in ("success", "failed")


def states(airflow: Airflow) -> dict[str, str]:
    query = "select task_id, state from task_instance where dag_id = %s and run_id = %s"
    return {row["task_id"]: row["state"] for row in airflow.database.rows(query, DAG_ID, RUN_ID)}


def test_every_task_succeeds(line: Line) -> None:
    assert line.states == {"submit": "success", "wait": "success", "archive": "success"}


def test_waiting_takes_no_worker(line: Line) -> None:
    if not AIRFLOW_V_3_3_PLUS:  # a worker polls once there, and defers
        assert "DEFERRED" in line.airflow.log(DAG_ID, RUN_ID)
        return
    query = "select pid, queued_dttm from task_instance where dag_id = %s and run_id = %s and task_id = 'wait'"
    assert line.airflow.database.rows(query, DAG_ID, RUN_ID) == [{"pid": None, "queued_dttm": None}]


def test_the_archive_of_the_one_paid_generation_is_what_the_api_serves(line: Line) -> None:
    [paid] = line.kling.tasks(PROMPT)
    folder = line.folder / "archive" / paid["task_id"]
    served = line.kling.results(paid)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [image["sha256"] for image in manifest["images"]] == [hashlib.sha256(one).hexdigest() for one in served]
    assert [(folder / f"{index}.png").read_bytes() for index in range(2)] == served


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="Airflow keeps the records itself from 3.3 on")
def test_the_record_store_has_the_submission(line: Line) -> None:
    [paid] = line.kling.tasks(PROMPT)
    records = [file.read_text() for file in (line.folder / "records").rglob("*") if file.is_file()]
    assert [record for record in records if paid["task_id"] in record and '"submitted"' in record]
