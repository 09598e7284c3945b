"""Follows the tutorial word for word in a new home directory, until the pictures are there."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deploy.local.airflow_api import AirflowApi
from deploy.local.processes import free_ports
from deploy.local.waiting import HUNG
from tests.docs.blocks import TUTORIAL, Block, blocks_of, copy_checkout
from tests.docs.terminal import Terminal

EMULATOR_PORT, AIRFLOW_PORT = 8899, 8080
THINKING = 8.0  # seconds that a person takes to answer, at least


def port_or_other(port: int) -> int:
    """The tutorial's port; another one, the only word that is changed, where this machine uses it already."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_ports(1)[0]
    return port


def new_home(home: Path, airflow_port: int) -> dict[str, str]:
    """A reader's environment, with nothing in it of the one that the tests run in."""
    ours = ("AIRFLOW", "COV", "PYTEST", "PYTHON", "VIRTUAL_ENV", "KLING")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    log_ports = free_ports(2)
    return env | {
        "HOME": str(home),
        "PATH": os.pathsep.join([f"{sys.base_prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"]),
        "PIP_CACHE_DIR": env.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
        "PYTHONUNBUFFERED": "1",  # as at a terminal
        "AIRFLOW__API__PORT": str(airflow_port),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[0]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[1]),
    }


class Reader:
    """Goes through the tutorial: types commands, saves files, compares what is printed."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.emulator_port, self.airflow_port = port_or_other(EMULATOR_PORT), port_or_other(AIRFLOW_PORT)
        self._folder = folder
        self._ending = ending
        self._checkout = copy_checkout(folder / "checkout")
        self._env = new_home(self.home, self.airflow_port)
        self._terminals: dict[str, Terminal] = {}
        self._person: threading.Thread | None = None
        self.printed = ""

    def follow(self, blocks: list[Block]) -> None:
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            text = block.text.replace(str(EMULATOR_PORT), str(self.emulator_port))
            if block.language == "text":
                expected = text.splitlines()
                assert [line for line in expected if line not in self.printed] == [], f"{block}:\n{self.printed}"
            elif block.title.startswith("~/"):
                self._save(self.home / block.title.removeprefix("~/"), text)
            elif block.title:
                assert following
                assert following.language == "text", f"{block} does not say what it prints"
                until = following.text.replace(str(EMULATOR_PORT), str(self.emulator_port))
                self._terminal(block.title).start(text, until=until, timeout=HUNG)
                self.printed = until
            else:
                assert block.language == "shell", block
                self.printed = self._terminal("Terminal 1").run(text, timeout=HUNG)
                self._log_in()

    def _save(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def _terminal(self, title: str) -> Terminal:
        if title not in self._terminals:
            terminal = Terminal(self._folder / f"{title}.log", cwd=self._checkout, env=self._env)
            self._ending.callback(terminal.end)
            self._terminals[title] = terminal
        return self._terminals[title]

    def _log_in(self) -> None:
        """Once the tutorial has shown the password, a person at the browser approves the first of what is asked."""
        if self._person is None and self.printed.strip().startswith('{"admin"'):
            password = json.loads(self.printed)["admin"]
            over = threading.Event()
            self._person = threading.Thread(target=self._approve, args=(password, over))
            self._person.start()
            self._ending.callback(self._person.join)
            self._ending.callback(over.set)

    def _approve(self, password: str, over: threading.Event) -> None:
        with AirflowApi(f"http://localhost:{self.airflow_port}") as api:
            api.log_in("admin", password)
            seen: set[str] = set()
            # For up to five seconds Airflow 3.3.2 may not know that the worker is done; it fails a task answered then.
            while not over.wait(THINKING):
                asked = api.get("dags/~/dagRuns/~/hitlDetails", response_received=False)["hitl_details"]
                questions = {one["task_instance"]["id"]: one for one in asked}
                for question in (questions[key] for key in questions.keys() & seen):
                    ti = question["task_instance"]
                    run = f"dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}"
                    path = f"{run}/taskInstances/{ti['task_id']}/{ti['map_index']}/hitlDetails"
                    api.send("PATCH", path, {"chosen_options": question["options"][:1]})
                seen = set(questions)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with ExitStack() as ending:
        yield Reader(tmp_path_factory.mktemp("tutorial"), ending)


def test_who_follows_the_tutorial_gets_the_pictures(reader: Reader) -> None:
    reader.follow(blocks_of(TUTORIAL))

    archived = sorted((reader.home / "kling" / "archive").rglob("*.png"))
    clips = [file.name for file in (reader.home / "kling" / "archive").rglob("*.mp4")]
    published = sorted((reader.home / "kling" / "published").rglob("*.png"))
    assert [file.name for file in archived] == ["0.png", "1.png"] * 3
    assert clips == ["0.mp4"]
    assert published
    assert {file.name for file in published} == {"0.png"}
    for file in (*archived, *published):
        with Image.open(file) as picture:
            picture.load()
            assert min(picture.size) > 500
    ledger = httpx.get(f"http://127.0.0.1:{reader.emulator_port}/_emulator/ledger", trust_env=False).json()
    assert ledger["totals"]["billed_tasks"] == 4
    assert ledger["totals"]["billed_images"] == 6
    assert ledger["totals"]["billed_videos"] == 1
