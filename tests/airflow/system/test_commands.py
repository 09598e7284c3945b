"""Tests `make demo` and `make up` as processes: what they print, how they end, that they leave no process behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from deploy.local.paths import CHECKOUT
from deploy.local.stack import EMULATOR_KEY
from deploy.local.waiting import HUNG, wait_for
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import files_with

LOGIN = re.compile(r"^Airflow: (?P<url>http://\S+) +user: (?P<user>\S+) +password: (?P<password>\S+)$", re.MULTILINE)


def demo(command: str, folder: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    """Start a command of the demonstration, with its output in ``folder``."""
    words = [sys.executable, "-m", "demo", command, "--folder", str(folder), *options]
    # SPT_NOENV: process titles must not overwrite the environment, by which the test finds the processes.
    env = os.environ | {"SPT_NOENV": "1", "KLING_SYSTEM_TEST": str(folder), **env}
    with (folder / "output").open("w") as output:
        return subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=output, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def run_demo(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def run_demo(command: str, *options: str, **env: str) -> subprocess.Popen[str]:
        started.append(demo(command, tmp_path, *options, **env))
        return started[-1]

    yield run_demo
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for left in marked(str(tmp_path)):
        left.kill()


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that a test's command started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KLING_SYSTEM_TEST") == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def wait_for_login(output: Path) -> dict[str, str]:
    found = wait_for("the login", lambda: LOGIN.search(output.read_text()), describe=output.read_text)
    return found.groupdict()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_up_shows_its_ui_and_leaves_nothing_behind(
    run_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    up = run_demo("up")
    login = wait_for_login(tmp_path / "output")
    assert "<html" in httpx.get(login["url"], trust_env=False, follow_redirects=True).raise_for_status().text
    credentials = {"username": login["user"], "password": login["password"]}
    httpx.post(f"{login['url']}/auth/token", json=credentials, trust_env=False).raise_for_status()
    started = marked(str(tmp_path))
    assert len(started) > 5

    up.send_signal(number)
    assert up.wait(timeout=HUNG) == 0
    assert marked(str(tmp_path)) == []
    assert [process for process in started if process.is_running()] == []


def test_demo_with_a_key_gives_it_to_airflow_through_the_connection_alone(
    kling: Emulator, run_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = run_demo("run", "--host", kling.url, KLING_API_KEY=EMULATOR_KEY)
    command_lines: set[str] = set()
    given: set[str] = set()

    def ended() -> bool:
        for one in marked(str(tmp_path)):
            with suppress(psutil.Error):
                command_lines.add(" ".join(one.cmdline()))
                if one.pid != process.pid:
                    given.update(name for name, value in one.environ().items() if EMULATOR_KEY in value)
        return process.poll() is not None

    wait_for("the end of the demonstration", ended, describe=(tmp_path / "output").read_text)
    printed = (tmp_path / "output").read_text()
    assert process.returncode == 0, printed
    assert EMULATOR_KEY not in printed
    assert len(command_lines) > 5
    assert not [line for line in command_lines if EMULATOR_KEY in line]
    assert given == {"AIRFLOW_CONN_KLING_DEFAULT"}
    assert files_with(EMULATOR_KEY, tmp_path) == []
    assert re.search(r"archive +success", printed)
    [image] = (tmp_path / ".demo" / "archive").glob("*/0.png")
    assert str(image) in printed
    assert re.search(r"clip\.archive +success", printed)
    [clip] = (tmp_path / ".demo" / "archive").glob("*/0.mp4")
    assert str(clip) in printed
    sheet = Image.open(tmp_path / ".demo" / "contact-sheet.png")
    assert sheet.width > 1000
    assert sheet.height > 1000
