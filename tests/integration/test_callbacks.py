"""The receiver alone, as a process: the emulator delivers to it, and Airflow's database is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from airflow_kling.api.callbacks import make_callback_url
from airflow_kling.emulator import Emulator
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.storage.open import open_store
from airflow_kling.submission.callback_notes import read_note

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-callback-secret-of-the-tests"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def standalone(tmp_path: Path, records: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a receiver, and the file of what it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nobody@127.0.0.1:9/none",
        "KLING_CALLBACK_SECRET": SECRET,
        "KLING_RECORD_STORE": f"file://{records}",
    }
    log = tmp_path / "receiver.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_kling.callbacks", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Kling callback receiver listening on http://127.0.0.1:"), log.read_text()
        yield line.split()[-1], log
    finally:
        process.terminate()
        process.wait(30)


def test_a_lost_answer_is_noted(
    standalone: tuple[str, Path],
    records: Path,
    kling: Emulator,
    connect: Callable[..., str],
    subjects: list[str],
    tmp_path: Path,
) -> None:
    url, log = standalone
    base = f"{url}/any/prefix"
    connect(kling, extra={"callback_base_url": base, "callback_secret": SECRET, "record_store": f"file://{records}"})
    made = KlingHook().submit({"subject_images": subjects, "external_task_id": "job-7"})
    deadline = time.monotonic() + 120
    while (noted := read_note(open_store(f"file://{records}"), "job-7")) is None:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    assert noted == made.kling_task_id
    forged = make_callback_url(base, "another secret", "job-8")
    assert httpx.post(forged, json={"task_id": "8334"}, trust_env=False).status_code == 404
    token = make_callback_url(base, SECRET, "job-7").rpartition("/")[2]
    assert token not in log.read_text()
    assert SECRET not in log.read_text()
    assert not list((tmp_path / "airflow").glob("*.db"))
