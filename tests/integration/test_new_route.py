"""Adds a route as CONTRIBUTING.md says, by one file, one operator file and one emulator row, and archives with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROUTE = '''
"""Describes sketches: a prompt becomes drawings. A route of the tests."""

from __future__ import annotations

from pydantic import Field

from airflow_kling.api.fields import KlingRequest, Prompt
from airflow_kling.api.route import Endpoint, Pace, Route


class SketchRequest(KlingRequest):
    """The fields of a request."""

    prompt: Prompt
    count: int = Field(default=1, ge=1, le=3)


ROUTE = Route(
    name="sketch",
    endpoints={"cometapi": Endpoint(path="/kling/v1/images/sketches")},
    request=SketchRequest,
    body_names={"count": "n"},
    results=("images",),
    slots_field="count",
    pace=Pace(first_poll=1.0, dense_until=5.0, dense_interval=1.0, later_interval=2.0),
)
'''

OPERATOR = '''
"""Generates sketches."""

from __future__ import annotations

from typing import Any

from airflow_kling.api.routes.sketch import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator


class KlingSketchOperator(KlingGenerationOperator):
    """Submit a sketch."""

    kling_route = ROUTE
    template_fields = (*ROUTE.fields, "kling_conn_id")

    def __init__(self, *, prompt: str, count: int | str = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.count = count
        self.check_fields()
'''

# The emulator's row is a second opinion on purpose: it is not made from the route.
EMULATOR_ROW = """
ROUTES += (
    Route(
        "sketch",
        fields={**_COMMON, "prompt": required(text(MAX_PROMPT)), "n": whole(1, 3)},
        variants=(Variant(COMETAPI, "images/sketches"),),
        results=(ResultList("images", count=_n, draw=functools.partial(drawing.collage, subjects=())),),
        price=lambda fields: 1 * _n(fields),
    ),
)
"""

DAG = """
import os

from airflow.providers.common.compat.sdk import DAG

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.sketch import KlingSketchOperator
from airflow_kling.sensors.task import KlingTaskSensor

with DAG("kling_sketch", schedule=None, params={"animal": "cat"}) as dag:
    submit = KlingSketchOperator(task_id="submit", prompt="a {{ params.animal }}", count=2)
    wait = KlingTaskSensor(
        task_id="wait", kling_task_id=submit.output, route="sketch", deferrable=False, poke_interval=0.1, timeout=60
    )
    KlingArchiveImagesOperator(task_id="archive", task=wait.output, destination=os.environ["DESTINATION"])
"""

RUN = """
import json, os, runpy, sys

import airflow_kling
from airflow_kling.emulator import Duration, EmulatorConfig, serve

with serve(EmulatorConfig(duration=Duration(0.0), image_size=64)) as emulator:
    extra = {"allow_private_hosts": True}
    connection = {"conn_type": "kling", "host": emulator.url, "password": emulator.api_key, "extra": extra}
    os.environ["AIRFLOW_CONN_KLING_DEFAULT"] = json.dumps(connection)
    run = runpy.run_path(sys.argv[1])["dag"].test()
    bill = emulator.ledger()["accounts"]["default"]["tasks"]
    print(json.dumps({"state": str(run.state), "file": airflow_kling.__file__, "bill": bill}))
"""


def _checkout_with_the_route(folder: Path) -> Path:
    package = folder / "airflow_kling"
    shutil.copytree(ROOT / "airflow_kling", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "api" / "routes" / "sketch.py").write_text(ROUTE.lstrip())
    (package / "operators" / "sketch.py").write_text(OPERATOR.lstrip())
    with open(package / "emulator" / "routes.py", "a") as rows:
        rows.write(EMULATOR_ROW)
    return folder


@pytest.fixture
def dag_file(airflow_home: Path) -> Iterator[Path]:
    file = airflow_home / "dags" / "kling_sketch.py"
    file.write_text(DAG)
    yield file
    file.unlink()


def test_a_new_route_goes_from_a_dag_to_a_manifest(tmp_path: Path, dag_file: Path) -> None:
    checkout = _checkout_with_the_route(tmp_path / "checkout")
    archive = tmp_path / "archive"
    env = {**os.environ, "PYTHONPATH": str(checkout), "DESTINATION": archive.as_uri()}
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(dag_file)]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert Path(told["file"]).is_relative_to(checkout)
    assert told["state"].endswith("success"), done.stdout[-3000:] + done.stderr[-3000:]
    [billed] = told["bill"]
    assert (billed["route"], billed["request"]["prompt"], billed["request"]["n"]) == ("sketch", "a cat", 2)
    [file] = archive.glob("*/manifest.json")
    manifest = json.loads(file.read_text())
    assert manifest["kling_task_id"] == billed["task_id"]
    assert manifest["request"] | {"external_task_id": None} == {
        "route": "sketch",
        "gateway": "cometapi",
        "prompt": "a cat",
        "count": 2,
        "external_task_id": None,
    }
    assert [image["index"] for image in manifest["images"]] == [0, 1]
    assert all((file.parent / f"{index}.png").exists() for index in (0, 1))
