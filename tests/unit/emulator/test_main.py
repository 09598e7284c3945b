"""The command line."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import pytest

from airflow_kling.emulator import Duration
from airflow_kling.emulator.__main__ import accounts, parser, settings


def test_options():
    options = parser().parse_args(["--duration", "lognormal:20:0.4", "--api-key", "a", "--api-key", "team=b"])
    assert options.duration == Duration(20.0, 0.4)
    first, second = accounts(options.api_key, "ak", "sk")
    assert (first.name, first.api_key, first.access_key) == ("default", "a", "ak")
    assert (second.name, second.api_key, second.access_key) == ("team", "b", None)


@pytest.mark.parametrize(
    ("given", "seconds"), [([], 24), (["--duration", "0"], 0), (["--duration", "2", "--video-duration", "9"], 9)]
)
def test_a_video_takes_three_times_as_long_unless_told(given, seconds):
    config = settings(parser().parse_args(given))
    assert config.video_duration == Duration(seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_starts_and_ends(number):
    command = [sys.executable, "-m", "airflow_kling.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Kling emulator listening on http://127.0.0.1:")
            assert httpx.get(f"{line.split()[-1]}/_emulator/health", trust_env=False).status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_importing_the_package_is_cheap():
    code = (
        "import sys, airflow_kling.emulator; print(sorted({'PIL','starlette','uvicorn','pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
