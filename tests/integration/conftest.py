"""A Kling API over HTTP, Airflow connections to it, and a database of Airflow's for the tests that run whole tasks."""

from __future__ import annotations

import base64
import functools
import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from botocore.loaders import JSONFileLoader
from PIL import Image

from airflow_kling.api import retry
from airflow_kling.api.route import Pace
from airflow_kling.emulator import Account, Duration, Emulator, EmulatorConfig, serve
from airflow_kling.emulator.config import DEFAULT_ACCOUNT
from airflow_kling.polling import schedule

OTHER = Account("other", "the-key-of-another-account")


@pytest.fixture(scope="session", autouse=True)
def _botocore_reads_its_data_once() -> Iterator[None]:
    """Spare each new client of S3 the reading of the service's description, half of what it costs."""
    read = functools.cache(JSONFileLoader().load_file)
    with mock.patch.object(JSONFileLoader, "load_file", lambda _, path: read(path)):
        yield


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    # Two minutes are never waited for: tests move the emulator's clock.
    config = EmulatorConfig(accounts=(DEFAULT_ACCOUNT, OTHER), duration=Duration(120.0), image_size=64, url_ttl=3600)
    with serve(config) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """An empty emulator whose tasks end when a test calls ``advance(120)``."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make an Airflow connection: ``connect(emulator, gateway="official")``; returns its id."""

    def connect(emulator: Emulator, *, conn_id: str = "kling_default", **fields: Any) -> str:
        extra = {"gateway": fields.pop("gateway", "cometapi"), "allow_private_hosts": True, **fields.pop("extra", {})}
        connection = {
            "conn_type": "kling",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": extra,
            **fields,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return conn_id

    return connect


@pytest.fixture
def kling(emulator: Emulator, connect: Callable[..., str]) -> Emulator:
    """The emulator, with ``kling_default`` leading to it."""
    connect(emulator)
    return emulator


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries and the triggerer's first look come at once."""
    monkeypatch.setattr(retry, "BASE_DELAY", 0.001)
    monkeypatch.setattr(schedule, "FIRST_POLL_AFTER_DEFERRAL", 0.01)
    monkeypatch.setattr(schedule, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(schedule, "pace_of", lambda route: Pace(0.01, 25.0, 4.2, 4.85))


@pytest.fixture
def plain_logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What operators, sensors and triggers log, whichever way this Airflow makes their loggers."""
    from airflow_kling.operators.generate import KlingMultiImageToImageOperator
    from airflow_kling.sensors.task import KlingTaskSensor
    from airflow_kling.triggers.task import KlingTaskTrigger

    for kind in (KlingMultiImageToImageOperator, KlingTaskSensor, KlingTaskTrigger):
        monkeypatch.setattr(kind, "log", logging.getLogger("of_the_tests"), raising=False)
    return caplog


@pytest.fixture
def closed_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def raw_server() -> Iterator[Callable[..., tuple[str, list[bytes]]]]:
    """``url, requests = raw_server(b"HTTP/1.1 ...", ...)``: answers those bytes, one a connection, and hangs up."""
    listeners: list[socket.socket] = []

    def start(*answers: bytes) -> tuple[str, list[bytes]]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        requests: list[bytes] = []

        def run() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    requests.append(_receive(connection))
                    with suppress(OSError):  # a client may hang up on a long one
                        connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}", requests

    yield start
    for listener in listeners:
        listener.close()


def _receive(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def picture(width: int = 320, height: int = 320, colour: str = "teal", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="session")
def png() -> bytes:
    return picture()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    return picture(colour="red", kind="JPEG")


@pytest.fixture(scope="session")
def subjects(png: bytes, jpeg: bytes) -> list[str]:
    """Two subjects in base64, so that no server of references is needed."""
    return [base64.b64encode(data).decode() for data in (png, jpeg)]


@pytest.fixture
def submitted(kling: Emulator, subjects: list[str]) -> Callable[..., str]:
    """Create a task at the emulator, past the code under test; returns its id."""
    import httpx

    def submit(**fields: Any) -> str:
        body = {"subject_image_list": [{"subject_image": image} for image in subjects], **fields}
        headers = {"Authorization": f"Bearer {kling.api_key}"}
        answer = httpx.post(
            f"{kling.url}/kling/v1/images/generations", json=body, headers=headers, trust_env=False, timeout=60
        )
        task_id: str = answer.raise_for_status().json()["data"]["task_id"]
        return task_id

    return submit


class FakeTaskInstance:
    """Keeps what a task pushes; the tests of whole runs use Airflow's own."""

    dag_id, run_id, task_id, map_index, max_tries, try_number = "dag", "run", "submit", -1, 0, 1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def ti() -> FakeTaskInstance:
    return FakeTaskInstance()


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Airflow's home with an initialised database and an empty folder of DAGs."""
    from airflow.configuration import conf
    from airflow.utils import db

    folder = Path(conf.get("core", "dags_folder"))
    folder.mkdir(parents=True, exist_ok=True)
    db.initdb()
    return folder.parent


@pytest.fixture
def load_dag(airflow_home: Path) -> Iterator[Callable[[str, str], Any]]:
    """``load_dag("name", source)``: put a DAG file where Airflow finds it, and load it."""
    files: list[Path] = []

    def load(name: str, source: str) -> Any:
        file = airflow_home / "dags" / f"{name}.py"
        file.write_text(source)
        files.append(file)
        return _module(name, file).dag

    yield load
    for file in files:
        file.unlink()
        sys.modules.pop(f"dags_of_tests_{file.stem}", None)


def _module(name: str, file: Path) -> ModuleType:
    spec = util.spec_from_file_location(f"dags_of_tests_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fast(connect: Callable[..., str]) -> Iterator[Emulator]:
    """An emulator whose tasks are finished at once, though the first looks say otherwise."""
    with serve(EmulatorConfig(duration=Duration(0.05), image_size=64)) as emulator:
        emulator.faults.add(on="query", action="unknown_status", task_status="processing", times=2)
        connect(emulator)
        yield emulator


@pytest.fixture
def references(tmp_path: Path, png: bytes, jpeg: bytes) -> list[str]:
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "b.jpg").write_bytes(jpeg)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def run(load_dag: Callable[[str, str], Any], references: list[str], archive: Path) -> Callable[[str, str], Any]:
    def run(name: str, source: str) -> Any:
        source = source.replace("SUBJECTS", repr(references)).replace("DESTINATION", repr(f"file://{archive}"))
        dag = load_dag(name, source)
        if hasattr(dag, "sync_to_db"):  # Airflow 2: an event is only for outlets that the database knows
            dag.sync_to_db()
        return dag.test()

    return run
