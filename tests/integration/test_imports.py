"""What a DAG file pays for importing operators and sensor: modules, which are the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_kling.emulator import Emulator
from tests.integration.stores import s3, s3_endpoint

__all__ = ["s3", "s3_endpoint"]

ROOT = Path(__file__).resolve().parents[2]

BASE = """
import json, os, sys
try:
    import airflow.sdk
except ImportError:  # Airflow 2
    import airflow, airflow.models.dag, airflow.models.baseoperator, airflow.sensors.base, airflow.hooks.base
    import airflow.triggers.base
before = set(sys.modules)
"""
MODULES = BASE + "{imports}\nprint(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))"

PUBLIC = """
import airflow_kling.operators.generate
import airflow_kling.operators.archive
import airflow_kling.sensors.task
import airflow_kling.task_group
"""
HEAVY = ["httpx", "httpcore", "aiohttp", "pydantic", "PIL", "boto3", "botocore", "jwt", "moto", "uvicorn", "starlette"]
OWN_AND_LATE = [
    "airflow_kling.api.async_client",
    "airflow_kling.api.client",
    "airflow_kling.api.protocol",
    "airflow_kling.api.reference_images",
    "airflow_kling.api.tasks",
    "airflow_kling.archive",
    "airflow_kling.emulator",
    "airflow_kling.submission.submitter",
]


TASK = (
    BASE
    + """
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
{make}.execute(dict())
print(json.dumps(sorted(set(sys.modules) - before)))
"""
)
SUBMIT = "KlingMultiImageToImageOperator(task_id='a', subject_images=['https://example.com/a.png'] * 2, prompt='p')"
#: What no task process of a worker needs, and what only one that reaches into S3 does.
NEVER = {"aiohttp", "PIL", "av", "boto3", "s3transfer", "requests", "moto", "uvicorn", "fastapi", "starlette"}
ONLY_S3 = {"botocore", "fsspec"}


def run(code: str, tmp_path: Path) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True
    )
    assert not printed.returncode, printed.stderr
    return json.loads(printed.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The modules of Airflow alone, and those that operators and sensor add."""
    before, added = run(MODULES.replace("{imports}", PUBLIC), tmp_path_factory.mktemp("home"))
    return set(before), set(added)


@pytest.mark.parametrize("heavy", HEAVY)
def test_nothing_heavy_is_imported(heavy: str, imported: tuple[set[str], set[str]]) -> None:
    before, added = imported
    assert before
    assert not {name for name in added if name.partition(".")[0] == heavy}


@pytest.mark.parametrize("package", OWN_AND_LATE)
def test_what_a_run_needs_waits_for_the_run(package: str, imported: tuple[set[str], set[str]]) -> None:
    assert not {name for name in imported[1] if name == package or name.startswith(f"{package}.")}


def test_operators_are_made_without_clients_and_answers(tmp_path: Path) -> None:
    code = (
        "import json, sys; from airflow_kling.operators.generate import KlingMultiImageToImageOperator; "
        "KlingMultiImageToImageOperator(task_id='a', subject_images=['https://h.example/a.png', '{{ x }}'], "
        "prompt='p', n=4, aspect_ratio='1:1', scene_image='s3://bucket/b.png', negative_prompt='q'); "
        "print(json.dumps([name for name in sys.modules if name.startswith('airflow_kling.api.')]))"
    )
    made = set(run(code, tmp_path))
    assert "airflow_kling.api.routes.multi_image_to_image" in made
    assert not made & {"airflow_kling.api.tasks", "airflow_kling.api.client", "airflow_kling.api.protocol"}


def test_what_is_imported_is_ours(imported: tuple[set[str], set[str]]) -> None:
    own = {name for name in imported[1] if name.partition(".")[0] == "airflow_kling"}
    assert {"airflow_kling.operators.generate", "airflow_kling.operators.archive", "airflow_kling.sensors.task"} <= own
    assert len(own) < 45


def test_groups_of_known_fields_read_no_image_code(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from airflow.providers.common.compat.sdk import DAG\n"
        "from airflow_kling import kling_generate\n"
        "with DAG('d', schedule=None) as dag:\n"
        "    shoes = kling_generate('shoes', route='omni-image', prompt='p', destination='s3://b/k')\n"
        "    kling_generate('clip', route='image-to-video', image=shoes.output, duration='5', destination='s3://b/k')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    made = set(run(code, tmp_path))
    assert "airflow_kling.operators.image_to_video" in made
    heavy = {"airflow_kling.api.reference_images", "airflow_kling.media", "airflow_kling.operators.omni_video"}
    assert not made & heavy


def test_provider_info_imports_nothing(tmp_path: Path) -> None:
    code = (
        "import json, sys; before = set(sys.modules); import airflow_kling.get_provider_info as info; "
        "info.get_provider_info(); print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    assert run(code, tmp_path) == ["airflow_kling", "airflow_kling.get_provider_info"]


@pytest.mark.parametrize(
    "layer",
    [
        "client",
        "protocol",
        "tasks",
        "error_table",
        "retry",
        "auth",
        "connection",
        "reference_images",
        "async_client",
        "routes.multi_image_to_image",
        "reference_checks",
    ],
)
def test_the_api_imports_no_airflow(layer: str, tmp_path: Path) -> None:
    code = (
        f"import json, sys; import airflow_kling.api.{layer}; "
        "print(json.dumps([name for name in sys.modules if name.partition('.')[0] == 'airflow']))"
    )
    assert run(code, tmp_path) == []


def test_operators_can_be_made_without_a_connection_or_a_network(tmp_path: Path) -> None:
    code = """
import json, socket
def refuse(*args, **kwargs): raise AssertionError("I/O while a DAG file is parsed")
socket.socket.connect = refuse
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
from airflow.providers.common.compat.sdk import DAG
with DAG("made", schedule=None):
    submit = KlingMultiImageToImageOperator(task_id="a", subject_images=["https://example.com/a.png"] * 2)
    wait = KlingTaskSensor(task_id="b", kling_task_id=submit.output)
    KlingArchiveImagesOperator(task_id="c", task=wait.output, destination="s3://bucket/prefix")
print(json.dumps("made"))
"""
    assert run(code, tmp_path) == "made"


def packages(code: str, tmp_path: Path) -> set[str]:
    """The packages that a task has loaded beside Airflow's, in a process of its own."""
    return {name.partition(".")[0] for name in run(TASK.replace("{make}", code), tmp_path)}


@pytest.fixture
def finished(kling: Emulator, submitted: Callable[..., str]) -> str:
    """The id of a generation that has succeeded."""
    kling_task_id = submitted()
    kling.advance(120)
    return kling_task_id


def archive(kling_task_id: str, destination: str) -> str:
    """The code of an archive task."""
    return f"KlingArchiveImagesOperator(task_id='b', task={kling_task_id!r}, destination={destination!r})"


def test_a_submission_loads_no_image_code_and_nothing_of_the_triggerer(kling: Emulator, tmp_path: Path) -> None:
    loaded = packages(SUBMIT, tmp_path)
    assert "airflow_kling" in loaded
    assert not loaded & (NEVER | ONLY_S3)


def test_an_archive_to_a_file_loads_nothing_of_s3(finished: str, tmp_path: Path) -> None:
    loaded = packages(archive(finished, (tmp_path / "archive").as_uri()), tmp_path)
    assert not loaded & (NEVER | ONLY_S3)
    assert len(list(tmp_path.glob("archive/*/*"))) == 2


def test_an_archive_to_s3_loads_botocore_and_no_more(finished: str, s3: Any, tmp_path: Path) -> None:
    code = archive(finished, "s3://my_s3@images/a")
    loaded = run(TASK.replace("{make}", code), tmp_path)
    assert not {name.partition(".")[0] for name in loaded} & (NEVER | {"fsspec"})
    assert "airflow_kling.storage.local" not in loaded
    assert not {name for name in loaded if name.startswith("airflow.providers.amazon.aws.hooks")}
    assert s3.list_objects_v2(Bucket="images")["KeyCount"] == 2


FORKED = """
import json, sys
import airflow.jobs.scheduler_job_runner
from airflow.jobs.job import Job
{start}
from botocore.loaders import JSONFileLoader
before, read, load = set(sys.modules), [], JSONFileLoader.load_file
def load_file(self, path):
    found = load(self, path)
    read.append(path) if found else None
    return found
JSONFileLoader.load_file = load_file
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
for one in ({tasks}):
    one.execute(dict())
added = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in ("airflow_kling", "botocore"))
print(json.dumps([added, read]))
"""


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="the listener is for Airflow 3")
def test_a_task_that_the_scheduler_forks_has_all_modules_and_descriptions(
    finished: str, s3: Any, tmp_path: Path
) -> None:
    tasks = [SUBMIT, archive(finished, (tmp_path / "archive").as_uri()), archive(finished, "s3://my_s3@images/a")]
    code = FORKED.replace("{tasks}", ", ".join(tasks))
    assert run(code.replace("{start}", "Job()"), tmp_path) == [[], []]
    added, read = run(code.replace("{start}", ""), tmp_path)
    assert len(added) > 100
    assert len(read) > 4
