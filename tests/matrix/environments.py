"""Makes the environment of a cell, and runs what shows that the provider works in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.paths import CHECKOUT
from tests.matrix.cells import Cell

EXTRAS = ("amazon", "callbacks", "emulator", "openlineage", "video")
PROBE = CHECKOUT / "tests" / "matrix" / "probe.py"
REAL = CHECKOUT / "tests" / "airflow" / "lines"
# Of these something newer than a release is needed, and runs on it.
NEWER = ("apache-airflow-providers-common-compat", "standardwebhooks")
# What the tests need beside the provider, in whichever version fits what is there.
TOOLS = (
    "asyncpg",
    "hatchling",
    "hypothesis",
    "jsonschema",
    "markdown-it-py",
    "moto",
    "psycopg2-binary",
    "pytest",
    "pytest-cov",
    "pytest-timeout",
    "statsd",
    "trustme",
)

WITH_UV = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


class Failed(Exception):
    """A step has failed; the message names its log."""


@dataclass(frozen=True)
class Environment:
    """The environment of a cell.

    :param folder: where it and its logs are.
    :param interpreter: the Python that it is made of.
    """

    cell: Cell
    folder: Path
    interpreter: Path

    @property
    def python(self) -> Path:
        """Its own interpreter."""
        return self.folder / "env" / "bin" / "python"

    def install(self, wheel: Path, *, extras: bool) -> None:
        """Install Airflow and the wheel; nothing but ``pyproject.toml`` and Airflow itself says which versions.

        :param extras: with everything that the unit tests need.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._run("install", "uv", "venv", "--python", self.interpreter, self.folder / "env")
        # A pre-release of Airflow asks for pre-releases of its own parts.
        rules = ["--prerelease", "allow"] if self.cell.line.is_pre_release else self._of_its_time()
        airflow = f"apache-airflow=={self.cell.release}"
        if self.cell.is_lowest:
            ours = ["pyproject.toml", *(word for extra in EXTRAS for word in ("--extra", extra))]
            needs = self.cell.line.first_needs
            self._pip(*rules, "--resolution", "lowest-direct", airflow, *needs, "--requirements", *ours)
            self._pip("--no-deps", wheel)
        else:
            self._pip(*rules, f"{wheel}[{','.join(EXTRAS)}]" if extras else wheel, airflow)
        if extras:
            self._pip(*rules, *(self._held() if self.cell.is_lowest else ()), *tools())

    def _held(self) -> list[str]:
        """Keep what is installed: what the tests need may not raise the lowest dependencies."""
        frozen = self.folder / "installed.txt"
        command = ["uv", "pip", "freeze", "--python", str(self.python), "--exclude", "airflow-provider-kling"]
        environ = os.environ | WITH_UV
        frozen.write_text(subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout)
        return ["--constraint", str(frozen)]

    def _of_its_time(self) -> list[str]:
        if not self.cell.until:
            return []
        return [
            *("--exclude-newer", self.cell.until),
            *(word for name in NEWER for word in ("--exclude-newer-package", f"{name}=false")),
        ]

    def probe(self) -> None:
        """Let Airflow load provider, plugins and DAGs."""
        self._run("load", self.python, "-P", PROBE, CHECKOUT / "dags", cwd=self.folder)

    def unit_tests(self) -> None:
        """Run the unit tests."""
        self._pytest("unit tests", CHECKOUT / "tests" / "unit")

    def real_airflow(self) -> None:
        """Run the main DAG on a real scheduler and triggerer."""
        self._pytest("real Airflow", REAL, f"--basetemp={self.folder / 'airflow'}")

    def _pytest(self, step: str, *words: object) -> None:
        options = ("-q", "-p", "no:cacheprovider", "-p", "no:cov")
        self._run(step, self.python, "-m", "pytest", *options, *words)

    def _pip(self, *words: object) -> None:
        self._run("install", "uv", "pip", "install", "--python", self.python, *words)

    def _run(self, step: str, *command: object, cwd: Path = CHECKOUT) -> None:
        log = self.folder / f"{step.replace(' ', '-').lower()}.log"
        airflow = {
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",  # a busy machine is no failure
        }
        with log.open("ab") as output:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=cwd,
                env={**_without_airflow(os.environ), **airflow, **WITH_UV},
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise Failed(f"{step}: {last_line(log)}\n    {log}")


def tools() -> Iterator[str]:
    """Yield what the tests need, as ``pyproject.toml`` asks for it.

    :raises KeyError: it does not.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = {_name(one): one for one in project["optional-dependencies"]["dev"]}
    yield from (wanted[name] for name in TOOLS)


def find_python(version: str, wanted: Sequence[str] = ()) -> Path | None:
    """Return an interpreter of this version: one of ``wanted``, of the PATH, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [*wanted, sys.executable, f"python{version}", *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for one in map(str, found):
        code = "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"
        path = shutil.which(one)
        said = path and subprocess.run([path, "-c", code], capture_output=True, text=True, check=False).stdout.split()
        if said and said[0] == version:
            return Path(said[1]) / "bin" / f"python{version}"
    return None


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _name(requirement: str) -> str:
    return requirement.partition(">")[0].partition("[")[0].strip()


def _without_airflow(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(("AIRFLOW", "VIRTUAL_ENV", "PYTHONPATH"))}
