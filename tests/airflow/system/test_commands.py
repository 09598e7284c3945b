"""`make demo` and `make up` as processes: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

import demo.__main__
from deploy.local.stack import CHECKOUT, EMULATOR_KEY, emulator_connection
from tests.airflow.system.conftest import files_with

LOGIN = re.compile(r"^Airflow: (?P<url>http://\S+) +user: (?P<user>\S+) +password: (?P<password>\S+)$", re.MULTILINE)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    # SPT_NOENV: process titles must not overwrite the environment, by which the test finds the processes.
    env = os.environ | {"SPT_NOENV": "1", "KLING_SYSTEM_TEST": str(tmp_path)}
    command = [sys.executable, "-m", "demo", "up", "--folder", str(tmp_path)]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=CHECKOUT, env=env, stdout=output, stderr=subprocess.STDOUT, text=True)
    yield process
    if process.poll() is None:
        process.kill()
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


def wait_for_login(output: Path, timeout: float = 180.0) -> dict[str, str]:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := LOGIN.search(output.read_text()):
            return found.groupdict()
        time.sleep(0.5)
    raise AssertionError(f"no login after {timeout:.0f} s:\n{output.read_text()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_up_shows_its_ui_and_leaves_nothing_behind(
    up: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    login = wait_for_login(tmp_path / "output")
    assert "<html" in httpx.get(login["url"], trust_env=False, follow_redirects=True).raise_for_status().text
    credentials = {"username": login["user"], "password": login["password"]}
    httpx.post(f"{login['url']}/auth/token", json=credentials, trust_env=False).raise_for_status()
    started = marked(str(tmp_path))
    assert len(started) > 5

    up.send_signal(number)
    assert up.wait(timeout=90) == 0
    assert marked(str(tmp_path)) == []
    assert [process for process in started if process.is_running()] == []


def test_demo_with_a_key_gives_it_to_airflow_through_the_environment_alone(
    emulator_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: list[str] = []
    command_lines: list[str] = []

    def connection(api_key: str) -> dict[str, object]:
        given.append(api_key)
        return emulator_connection(emulator_url)

    def record(*arguments: object, **options: object) -> None:
        command_lines.extend(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
        return show_archive(*arguments, **options)

    show_archive: Callable[..., None] = demo.__main__.show_archive
    monkeypatch.setattr(demo.__main__, "cometapi_connection", connection)
    monkeypatch.setattr(demo.__main__, "show_archive", record)
    monkeypatch.setenv("KLING_API_KEY", EMULATOR_KEY)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert demo.__main__.main(["run", "--folder", str(tmp_path)]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    printed = capsys.readouterr().out
    assert given == [EMULATOR_KEY]
    assert "KLING_API_KEY" not in os.environ
    assert EMULATOR_KEY not in printed
    assert command_lines
    assert not [line for line in command_lines if EMULATOR_KEY in line]
    assert files_with(EMULATOR_KEY, tmp_path) == []
    assert re.search(r"wait +deferred", printed)
    [image] = (tmp_path / ".demo" / "archive").glob("*/0.png")
    assert str(image) in printed
    assert Image.open(tmp_path / ".demo" / "contact-sheet.png").width > 1000
