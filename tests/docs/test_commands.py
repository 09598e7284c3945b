"""Executes every command in README and docs as it stands there; names what executes those that it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from deploy.local.waiting import HUNG
from tests.airflow.harness.storage import storage
from tests.docs.blocks import CHECKOUT, TUTORIAL, Block, all_blocks, copy_checkout, pages
from tests.docs.terminal import Terminal

#: A target of the Makefile -> what runs the same program and looks at the outcome.
MAKE = {
    "demo": "tests/airflow/system/test_commands.py",
    "docs": "tests/docs/test_site.py",
    "faults": "tests/airflow/faults/test_faults.py",
    "up": "tests/airflow/system/test_commands.py",
}
#: Targets that no test runs, and why.
NOT_RUN = {"distributed": "installs PostgreSQL and Redis; it is a test itself, which CI may call"}
#: Programs that go on until Ctrl-C -> what they print once they are up.
SERVERS = {
    "python -m airflow_kling.callbacks": "Kling callback receiver listening on http://127.0.0.1:",
    "python -m airflow_kling.emulator": "Kling emulator listening on http://127.0.0.1:",
}
_MAKE = re.compile(r"^(?:\w+=\S+ )?make (?P<target>[a-z-]+)(?P<options>(?: \w+=(?:\"[^\"]*\"|\S+))*)(?:\s+#.*)?$")
#: An option of a command that asks first -> what the reader answers.
ASKS = {"--spend": "yes"}
_EXPORT = re.compile(r"^export AIRFLOW_CONN_(\w+)=", re.MULTILINE)

BLOCKS = all_blocks("shell", but=[TUTORIAL])
MADE = [block for block in BLOCKS if all(_MAKE.match(line) for line in block.text.splitlines())]
#: The commands below a test of the reader's own are run with that test, by tests/docs/test_python.py.
WITH_A_TEST = [block for block in BLOCKS if block.text.endswith("python -m pytest")]
TYPED = [block for block in BLOCKS if block not in (*MADE, *WITH_A_TEST)]


@dataclass
class Desk:
    """Where commands are typed: a checkout, an Airflow with a database, the emulator as ``kling_default``, and S3."""

    folder: Path
    checkout: Path
    env: dict[str, str]

    def type(self, text: str, *, until: str | None = None) -> str:
        with ExitStack() as ending:
            terminal = Terminal(self.folder / "terminal.log", cwd=self.checkout, env=self.env)
            ending.callback(terminal.end)
            if until is None:
                return terminal.run(text, timeout=HUNG)
            terminal.start(text, until=until, timeout=HUNG)
            return until


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    checkout = copy_checkout(folder / "checkout")
    bin_folder = venv_that_sees_ours(folder / "venv")
    config = EmulatorConfig(duration=Duration(0.2), image_size=256)
    with serve(config) as kling, storage(folder / "s3.log") as s3:
        s3.make_bucket("our-bucket")
        extra = {"allow_private_hosts": True}
        connection = {"conn_type": "kling", "host": kling.url, "password": kling.api_key, "extra": extra}
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COV", "PYTEST"))}
        env |= {
            "PATH": os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONUNBUFFERED": "1",
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(checkout / "dags"),
            "AIRFLOW_CONN_KLING_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(s3.connection()),
        }
        desk = Desk(folder, checkout, env)
        desk.type("airflow db migrate\nairflow dags reserialize")
        yield desk


def venv_that_sees_ours(folder: Path) -> Path:
    """A virtual environment to install into, which finds every dependency where the tests have theirs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    [libraries] = folder.glob("lib/python*/site-packages")
    (libraries / "ours.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.fixture(scope="module")
def triggerer(desk: Desk) -> Iterator[None]:
    """Run a triggerer: without one the doctor rightly says that deferred tasks would wait for good."""
    terminal = Terminal(desk.folder / "triggerer.log", cwd=desk.checkout, env=desk.env)
    try:
        terminal.start("airflow triggerer --skip-serve-logs", until="Starting the triggerer", timeout=HUNG)
        yield
    finally:
        terminal.end()


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_a_command_works(block: Block, desk: Desk, request: pytest.FixtureRequest) -> None:
    if "airflow_kling.doctor" in block.text:
        request.getfixturevalue("triggerer")
    last = block.text.splitlines()[-1]
    until = next((line for start, line in SERVERS.items() if last.startswith(start)), None)
    text = re.sub(r"--port \d+", "--port 0", block.text)
    for option, answer in ASKS.items():
        text += f" <<< {answer}" if option in last.split() else ""
    printed = desk.type(text, until=until)
    assert "does not provide the extra" not in printed
    for conn_id in _EXPORT.findall(block.text):
        # What is exported for a reader's Airflow is a connection that the provider takes.
        check = f"from airflow_kling.hooks.kling import KlingHook; KlingHook('{conn_id.lower()}').settings"
        desk.type(f'{block.text}\npython -c "{check}"')


@pytest.mark.parametrize("block", MADE, ids=str)
def test_a_make_target_is_there_and_something_runs_it(block: Block) -> None:
    for line in block.text.splitlines():
        found = _MAKE.match(line)
        assert found
        subprocess.run(["make", "--dry-run", found["target"]], cwd=CHECKOUT, check=True, capture_output=True)
        assert found["target"] in NOT_RUN or (CHECKOUT / MAKE[found["target"]]).exists()


def test_targets_that_are_mentioned_are_there() -> None:
    mentioned = {
        target for page in pages() for target in re.findall(r"`make ([a-z0-9-]+)[^`]*`", (CHECKOUT / page).read_text())
    }
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert mentioned
    assert mentioned <= targets


def test_a_target_that_is_no_file_has_a_rule() -> None:
    """Without one make says that nothing is to be done, and succeeds."""
    makefile = (CHECKOUT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY:(.*)", makefile, re.MULTILINE)
    names = set(re.sub(r"\$\([^)]*\)", "", phony).split())
    assert names
    assert names <= set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))


def test_modules_that_are_mentioned_can_be_run() -> None:
    mentioned = {
        module
        for page in pages()
        for module in re.findall(r"`python -m ([a-z_.]+)[^`]*`", (CHECKOUT / page).read_text())
    }
    assert mentioned
    for module in mentioned:
        file = CHECKOUT / Path(*module.split("."))
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module
