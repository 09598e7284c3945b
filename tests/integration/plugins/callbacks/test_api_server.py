"""The receiver in Airflow's own API server, as a process of its own: the only route without a login."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import airflow
import httpx
import pytest
from packaging.version import Version

from airflow_kling.api.callbacks import make_callback_url
from airflow_kling.storage.open import open_store
from airflow_kling.submission.callback_notes import read_note

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__).release < (3, 1), reason="apps of plugins that take no login came with Airflow 3.1"
)

ROOT = Path(__file__).resolve().parents[4]
SERVE = """
import socket, uvicorn
from airflow.api_fastapi.main import app  # as `airflow api-server` does
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(f"port {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
"""
BODY = b'{"task_id": "8334"}'


@dataclass
class Airflow:
    url: str
    records: Path

    def callback_url(self, conn_id: str, secret: str, external_task_id: str) -> str:
        return make_callback_url(f"{self.url}/kling-callbacks/{conn_id}", secret, external_task_id)

    def noted(self, external_task_id: str) -> str | None:
        return read_note(open_store(f"file://{self.records}"), external_task_id)


def connection(records: Path, password: str) -> dict[str, object]:
    extra = {"callback_base_url": "https://airflow.example.com/x", "record_store": f"file://{records}"}
    return {"conn_type": "kling", "password": password, "extra": extra}


@pytest.fixture(scope="module")
def api_server(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    folder = tmp_path_factory.mktemp("callbacks")
    records = folder / "records"
    stored = connection(records, "key-in-the-database")
    with create_session(scoped=False) as session:
        session.add(Connection(conn_id="kling_stored", **{**stored, "extra": json.dumps(stored["extra"])}))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "AIRFLOW__KLING__CALLBACK_CONN_IDS": "kling_default, kling_stored, kling_missing",
        "AIRFLOW__API_AUTH__JWT_SECRET": "0" * 64,
        "AIRFLOW__API__SECRET_KEY": "1" * 64,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW_CONN_KLING_DEFAULT": json.dumps(connection(records, "key-of-the-environment")),
        "AIRFLOW_CONN_KLING_OTHER": json.dumps(connection(records, "key-of-another")),
    }
    log = folder / "server.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert server.stdout is not None
        port = next((line.split()[1] for line in server.stdout if line.startswith("port ")), None)
        assert port, log.read_text()
        yield Airflow(f"http://127.0.0.1:{port}", records)
    finally:
        server.terminate()
        server.wait(30)
        with create_session(scoped=False) as session:
            session.query(Connection).filter_by(conn_id="kling_stored").delete()


def post(url: str, content: bytes = BODY) -> httpx.Response:
    return httpx.post(url, content=content, trust_env=False, timeout=60)


def test_a_callback_is_noted_without_a_login(api_server: Airflow) -> None:
    assert post(api_server.callback_url("kling_default", "key-of-the-environment", "job-1")).status_code == 200
    assert api_server.noted("job-1") == "8334"


def test_a_connection_of_the_database(api_server: Airflow) -> None:
    assert post(api_server.callback_url("kling_stored", "key-in-the-database", "job-2")).status_code == 200
    assert api_server.noted("job-2") == "8334"


def test_everything_else_is_not_found(api_server: Airflow) -> None:
    good = api_server.callback_url("kling_default", "key-of-the-environment", "job-3")
    urls = [
        api_server.callback_url("kling_default", "wrong", "job-3"),
        api_server.callback_url("kling_stored", "key-of-the-environment", "job-3"),
        api_server.callback_url("kling_other", "key-of-another", "job-3"),  # not named in the configuration
        api_server.callback_url("kling_missing", "key-of-another", "job-3"),  # named, and not there
        api_server.callback_url("", "key-of-the-environment", "job-3"),
        f"{api_server.url}/kling-callbacks/",
        f"{good}/more",
    ]
    answers = [post(url) for url in urls]
    answers += [httpx.request(method, good, trust_env=False, timeout=60) for method in ("GET", "PUT", "DELETE")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, "Not Found")}
    assert post(good, b"{" + b" " * 70_000).status_code == 404
    assert api_server.noted("job-3") is None


def test_it_opens_nothing_else(api_server: Airflow) -> None:
    for path in ("/api/v2/dags", "/kling/gallery", "/kling-callbacks/../api/v2/dags"):
        assert httpx.get(f"{api_server.url}{path}", trust_env=False, timeout=60).status_code in (401, 403)
