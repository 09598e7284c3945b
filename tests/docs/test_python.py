"""Executes every block of Python in README and docs: DAGs load, tests pass, the rest runs against the emulator."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from tests.docs.blocks import CHECKOUT, Block, all_blocks, blocks_of, pages

BLOCKS = all_blocks("python")
TASKS = re.compile(r"Kling\w+(?:Operator|Sensor)\(")


def is_dag_file(block: Block) -> bool:
    return "with DAG(" in block.text


def is_test(block: Block) -> bool:
    return "def test_" in block.text


def is_part_of_a_dag(block: Block) -> bool:
    """An operator alone, which goes between those of the DAGs around it."""
    return bool(TASKS.match(block.text))


DAG_FILES = [block for block in BLOCKS if is_dag_file(block)]
PARTS = [block for block in BLOCKS if is_part_of_a_dag(block)]
TESTS = [block for block in BLOCKS if is_test(block)]
SNIPPETS = [block for block in BLOCKS if block not in (*DAG_FILES, *PARTS, *TESTS)]

AROUND_A_PART = """
from airflow.sdk import DAG
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

with DAG("part_of_a_dag", schedule=None):
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=["https://example.com/a.png"] * 2)
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output)
"""


def load(file: Path) -> Any:
    """Load a DAG file as Airflow's DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(file)
    assert bag.import_errors == {}
    [dag] = bag.dags.values()
    DagSerialization.to_dict(dag)
    return dag


@pytest.mark.parametrize("block", DAG_FILES, ids=str)
def test_a_dag_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(block.text)
    assert load(file).tasks


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_a_part_of_a_dag_fits_into_one(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(AROUND_A_PART + textwrap.indent(block.text, "    "))
    assert len(load(file).tasks) > 2


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_a_test_passes(block: Block, tmp_path: Path) -> None:
    (tmp_path / "dags").symlink_to(CHECKOUT / "dags")
    (tmp_path / "test_it.py").write_text(block.text)
    # The page says how: the commands are those of its next block.
    how = next(other for other in blocks_of(block.page) if other.language == "shell" and other.line > block.line)
    ours = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", how.text],
        cwd=tmp_path,
        env=os.environ | {"PATH": ours, "TMPDIR": str(tmp_path), "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.fixture
def kling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with serve(EmulatorConfig(duration=Duration(0.2), image_size=256, fetch_references=False)) as emulator:
        connection = {
            "conn_type": "kling",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"allow_private_hosts": True},
        }
        monkeypatch.setenv("AIRFLOW_CONN_KLING_DEFAULT", json.dumps(connection))
        yield emulator


@pytest.mark.parametrize("block", [block for block in DAG_FILES if block.page.startswith("docs/routes/")], ids=str)
def test_what_the_page_of_a_route_asks_for_is_taken(block: Block, kling: Emulator, tmp_path: Path) -> None:
    from airflow_kling.hooks.kling import KlingHook

    file = tmp_path / "dag.py"
    file.write_text(block.text)
    submitting = [task for task in load(file).tasks if hasattr(task, "kling_route")]
    for task in submitting:
        fields = {name: _with_urls(getattr(task, name)) for name in task.kling_route.fields}
        KlingHook().submit(fields, route=task.kling_route.name)
    assert kling.ledger()["totals"]["created"] == len(submitting) > 0


def _with_urls(value: Any) -> Any:
    """Put a URL in place of what is in a storage, or comes from another task."""
    if isinstance(value, list):
        return [_with_urls(one) for one in value]
    if isinstance(value, dict):
        return {key: _with_urls(one) for key, one in value.items()}
    is_literal = value is None or isinstance(value, bool | int | float | str)
    return value if is_literal and not str(value).startswith("s3://") else "https://example.com/a.png"


@pytest.mark.parametrize("page", sorted({block.page for block in SNIPPETS}))
def test_snippets_run_in_the_order_of_the_page(
    page: str, kling: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: kling.advance(seconds))
    names: dict[str, Any] = {"kling": kling, **_client_of_a_reader()}
    for block in SNIPPETS:
        if block.page == page:
            exec(compile(block.text, str(block), "exec"), names)
    for use in USES.get(page, ()):
        use(names, kling, tmp_path)


def _client_of_a_reader() -> dict[str, Callable[[], None]]:
    """What the emulator's page calls the reader's own: a process that submits, and its end."""
    from airflow_kling.hooks.kling import KlingHook

    def submit() -> None:
        KlingHook().submit({"subject_images": ["https://example.com/a.png"] * 2})

    client = threading.Thread(target=submit, daemon=True)
    return {"start_the_client": client.start, "kill_the_client": lambda: None}


def _use_client(names: dict[str, Any], kling: Emulator, _: Path) -> None:
    before = kling.ledger()["totals"]["created"]
    assert names["generate"](kling.api_key, kling.url)
    assert kling.ledger()["totals"]["created"] == before + 1


def _use_trigger(names: dict[str, Any], kling: Emulator, _: Path) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    kling_task_id = names["task"].kling_task_id
    task = names["WaitForKling"](task_id="wait", kling_task_id=kling_task_id)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    assert deferred.value.method_name == "resume"
    assert task.resume({}, {"kling_task_id": kling_task_id, "status": "succeed"})["images"]


def _use_manifest(names: dict[str, Any], kling: Emulator, folder: Path) -> None:
    from airflow_kling.hooks.kling import KlingHook
    from airflow_kling.operators.archive import KlingArchiveImagesOperator

    task = KlingHook().submit({"subject_images": ["https://example.com/a.png"] * 2, "n": 2})
    kling.advance(60)
    archive = KlingArchiveImagesOperator(task_id="archive", task=task.kling_task_id, destination=folder.as_uri())
    manifest = archive.execute({})["manifest"]
    assert [uri.rpartition("/")[2] for uri in names["images_of"](manifest)] == ["0.png", "1.png"]


#: What is only defined on a page is used here.
USES: dict[str, tuple[Callable[[dict[str, Any], Emulator, Path], None], ...]] = {
    "docs/howto/archive.md": (_use_manifest,),
    "docs/howto/hook.md": (_use_client, _use_trigger),
}


@pytest.mark.parametrize("page", sorted({block.page for block in SNIPPETS}))
def test_what_a_page_defines_is_used(page: str) -> None:
    defined = {
        node.name
        for block in SNIPPETS
        if block.page == page
        for node in ast.parse(block.text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert not defined or page in USES


def test_no_page_has_code_in_a_language_that_nobody_runs() -> None:
    known = {"python", "shell", "json", "text"}
    assert [str(block) for page in pages() for block in blocks_of(page) if block.language not in known] == []


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)
