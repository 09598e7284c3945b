"""Runs servers on one core and contestants on the other, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.paths import CHECKOUT
from deploy.local.processes import server, wait_until
from deploy.local.stack import EMULATOR_KEY

SCRATCH = Path(__file__).parent / "scratch"
"""Packages that only a benchmark needs; appended to the path, so that the project's own versions come first."""


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """The command on one core, where the system can do that and has more than one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if core is None or len(cores) < 2 or not shutil.which("taskset"):
        return list(command)
    return ["taskset", "-c", str(cores[core]), *command]


CONTESTANT_CORE, SERVER_CORE = 0, 1


@contextmanager
def listening(module: str, *options: str, core: int | None = SERVER_CORE) -> Iterator[str]:
    """Run a server module that prints ``... listening on <url>``; yields the URL."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "server.log"
        command = pinned([sys.executable, "-m", module, *options], core)
        with server(command, log=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}, cwd=CHECKOUT) as process:

            def ready() -> str | None:
                found = re.search(r"listening on (http://\S+)", log.read_text(errors="replace"))
                return found and found.group(1)

            yield wait_until(ready, process=process, log=log, what=module)


BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(SCRATCH / "bytecode")}
"""Imports are measured as a worker has them, also where the environment writes no bytecode."""


class ContestantFailed(RuntimeError):
    """A contestant ended without a result."""


def contestant(
    module: str,
    spec: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    core: int | None = CONTESTANT_CORE,
    timeout: float = 900,
) -> dict[str, Any]:
    """Run ``python -m module`` with ``spec`` as JSON on stdin; return the JSON in its last line."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        command = pinned([sys.executable, "-m", module], core)
        done = subprocess.run(
            command,
            input=json.dumps(dict(spec)),
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            env={
                **os.environ,
                **BYTECODE,
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
                **(env or {}),
            },
            timeout=timeout,
            check=False,
        )
    if done.returncode:
        raise ContestantFailed(f"{module} {dict(spec)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def connections(url: str, gateway: str = "cometapi") -> dict[str, str]:
    """The Airflow connections to the emulator, ours and the http provider's."""
    ours = {
        "conn_type": "kling",
        "host": url,
        "password": EMULATOR_KEY,
        "extra": {"gateway": gateway, "allow_private_hosts": True},
    }
    http = {"conn_type": "http", "host": url, "extra": {"Authorization": f"Bearer {EMULATOR_KEY}"}}
    files = {"conn_type": "http", "host": url}
    return {
        "AIRFLOW_CONN_KLING_DEFAULT": json.dumps(ours),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps(http),
        "AIRFLOW_CONN_HTTP_FILES": json.dumps(files),
    }


def extra_packages(*requirements: str) -> None:
    """Have packages that are not the project's dependencies, in a folder of their own."""
    marks = [SCRATCH / f".{re.sub(r'[^a-z0-9.]+', '-', one.lower())}" for one in requirements]
    missing = [one for one, mark in zip(requirements, marks, strict=True) if not mark.exists()]
    if not missing:
        return
    SCRATCH.mkdir(exist_ok=True)
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(SCRATCH)]
    for one in missing:
        # A provider would bring a whole Airflow along.
        options = ["--no-deps"] if one.startswith("apache-airflow") else []
        subprocess.run([*command, *options, one], check=True)
    for mark in marks:
        mark.touch()


def use_extra_packages() -> None:
    """Make them importable in this process."""
    if str(SCRATCH) not in sys.path:
        sys.path.append(str(SCRATCH))


def is_quick(about: str | None) -> bool:
    """Read ``--quick`` from the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all is well")
    return bool(parser.parse_args().quick)
