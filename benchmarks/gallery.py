"""Measures pages of the gallery with 10,000 archived generations, over HTTP, from a real API server.

The same 10,000 once as mapped tasks of a single run, and once in a run each; on SQLite, and on PostgreSQL where its
server programs are installed. Each figure is of requests one after the other, with a user's cookie; CPU is the API
server's own. One figure more: cached thumbnails while a storage does not answer, and eight readers ask for its pictures
and for references that take seconds to decode.
"""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import secrets
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil

from benchmarks.processes import is_quick
from benchmarks.report import percentile, progress, publish, table
from deploy.celery.services import is_installed, postgres
from deploy.local.components import Components
from deploy.local.paths import CHECKOUT
from deploy.local.processes import free_ports
from deploy.local.stack import USER, settings, variables, write_password
from deploy.local.waiting import wait_for
from tests.integration.plugins.gallery import hostile

PAGES = {
    "first page": {},
    "page 100": {"page": 100},
    "one DAG": {"dag_id": "{dag}"},
    "one run": {"dag_id": "{dag}", "run_id": "{run}"},
    "one task instance": {"dag_id": "{dag}", "run_id": "{run}", "task_id": "wait"},
    "a day": {"since": "2026-01-02", "until": "2026-01-02"},
    "words of the prompt": {"q": "neon rain"},
    "words that no prompt has": {"q": "zeppelin"},
}
SHAPES = {"one run": ("kling_catalog", "manual__all"), "a run each": ("kling_daily", "scheduled__000100")}
ON_DISK = 50
READERS = 8
BESIEGED = "thumbnail, cached, beside a dead storage and hostile pictures"


def main() -> None:
    count, rounds = (1_000, 3) if is_quick(__doc__) else (10_000, 15)
    data: dict[str, Any] = {"generations": count}
    for database, start in databases().items():
        for shape, (dag_id, run_id) in SHAPES.items():
            progress(f"{count} generations, {shape}, {database}")
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gallery-")))
                connection = stack.enter_context(start(folder))
                visit = stack.enter_context(api_server(folder, connection, dag_id, count))
                data.setdefault(database, {})[shape] = measure(visit, rounds, dag=dag_id, run=run_id)
    publish("gallery", data, *tables(data))


def databases() -> dict[str, Callable[[Path], Any]]:
    """Return what starts each database: yields Airflow's connection to it."""
    return {"SQLite": sqlite, **({"PostgreSQL": postgresql} if is_installed("initdb") else {})}


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/airflow.db"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    folder.chmod(0o755)  # PostgreSQL runs as another user, when we are root
    # The collation of most installations, which sorts "_" elsewhere than ASCII does.
    with postgres(
        folder / "postgresql", folder / "postgresql.log", ["--locale-provider=icu", "--icu-locale=en-US"]
    ) as at:
        yield f"postgresql+psycopg2://{at}"


@contextmanager
def api_server(folder: Path, connection: str, dag_id: str, count: int) -> Iterator[Visit]:
    """Run an API server on a seeded database; yields a client that has logged in."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    login = {"username": USER, "password": write_password(folder)}
    env = os.environ | settings(folder, url, free_ports(2)) | {"PYTHONPATH": str(CHECKOUT)}
    env |= variables(
        {
            "database__sql_alchemy_conn": connection,
            "kling__gallery_cache_directory": folder / "thumbnails",
            "kling__gallery_file_roots": folder,
            "api_auth__jwt_secret": secrets.token_hex(32),
            "api__secret_key": secrets.token_hex(32),
        }
    )
    silent = socket.create_server(("127.0.0.1", 0), backlog=256)  # it takes connections, and never answers
    dead = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "region_name": "us-east-1"}
    connection_to_it = {"conn_type": "aws", "login": "nobody", "password": "nothing", "extra": dead}
    env[f"AIRFLOW_CONN_{hostile.DEAD_CONN_ID.upper()}"] = json.dumps(connection_to_it)
    seed = [sys.executable, "-m", "tests.integration.plugins.gallery.seed", str(folder / "pictures"), dag_id]
    with ExitStack() as ends:
        airflow = Components(env=env, logs=folder)
        ends.enter_context(airflow.stack)
        airflow.run("airflow", "db", "migrate")
        ends.enter_context(silent)
        airflow.run(*seed, str(count), str(ON_DISK))
        (folder / "hostile").mkdir()
        airflow.run(sys.executable, "-m", hostile.__name__, str(folder / "hostile"))
        process = airflow.start("api-server", "airflow", "api-server", "--apps", "core")
        wait_for("the API server", lambda: _is_up(url), check=airflow.check)
        client = ends.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=60))
        answer = httpx.post(f"{url}/auth/token", json=login, trust_env=False).raise_for_status()
        client.cookies.set("_token", answer.json()["access_token"])
        yield Visit(client, psutil.Process(process.pid))


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Visit:
    """Somebody with a cookie, and the process that answers."""

    client: httpx.Client
    server: psutil.Process

    def time(self, requests: Sequence[tuple[str, dict[str, str]]]) -> dict[str, float]:
        """Milliseconds of each request, one after the other, and of the API server's CPU, free of other work."""
        before, took = sum(self.server.cpu_times()[:2]), []
        for address, headers in requests:
            began = time.perf_counter()
            answer = self.client.get(address, headers=headers)
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status_code in (200, 304), answer.text
        cpu = (sum(self.server.cpu_times()[:2]) - before) * 1000 / len(took)
        ranks = {name: percentile(sorted(took), share) for name, share in (("p95", 0.95), ("p99", 0.99))}
        return {"median": statistics.median(took), **ranks, "CPU": cpu}

    @contextmanager
    def besieged(self) -> Iterator[None]:
        """Ask for what is never shown, all the time."""
        page = self.client.get("/kling/gallery", params={"dag_id": hostile.DAG_ID}).text
        addresses = [f"/kling/{html.unescape(one)}" for one in re.findall(r'<img src="(dags/[^"]*)"', page)]
        assert len(addresses) == hostile.COUNT * (2 + hostile.REFERENCES), len(addresses)
        ended = threading.Event()

        def ask(number: int) -> None:
            with httpx.Client(base_url=self.client.base_url, cookies=self.client.cookies, trust_env=False) as client:
                for address in itertools.cycle(addresses[number::READERS]):
                    if ended.is_set():
                        return
                    with suppress(httpx.TransportError):  # the impatient one goes
                        client.get(address, timeout=60 if number % 2 else 3)

        with ThreadPoolExecutor(READERS) as threads:
            for number in range(READERS):
                threads.submit(ask, number)
            time.sleep(2)  # until all of them wait
            yield
            ended.set()


def measure(visit: Visit, rounds: int, **names: str) -> dict[str, dict[str, float]]:
    """Each kind of page, and the newest page's thumbnails."""
    found = {}
    for name, query in PAGES.items():
        wanted = {key: value.format(**names) if isinstance(value, str) else value for key, value in query.items()}
        address = f"/kling/gallery?{urlencode(wanted)}"
        visit.time([(address, {})])
        found[name] = visit.time([(address, {})] * rounds)
    page = visit.client.get("/kling/gallery", params={"dag_id": names["dag"]}).text
    thumbs = [f"/kling/{html.unescape(one)}" for one in re.findall(r'<img src="(dags/[^"]*)"', page)]
    assert len(thumbs) == 150, len(thumbs)
    for name in ("thumbnail, the first time", "thumbnail, cached"):
        found[name] = visit.time([(one, {}) for one in thumbs])
    with visit.besieged():
        found[BESIEGED] = visit.time([(one, {}) for one in thumbs * 4])
    known = [(one, {"If-None-Match": visit.client.get(one).headers["etag"]}) for one in thumbs]
    found["thumbnail, the browser has it"] = visit.time(known)
    ids = urlencode([("id", one) for one in re.findall(r'data-kling="(\d+)"', page)])
    found["states of 50"] = visit.time([(f"/kling/states?{ids}", {})] * rounds)
    return found


def tables(data: dict[str, Any]) -> Iterator[str]:
    """Milliseconds, a table for each database."""
    columns = [(shape, what) for shape in SHAPES for what in ("median", "p95", "p99", "CPU")]
    for database in [name for name in data if name != "generations"]:
        shapes = data[database]
        head = [
            f"{data['generations']:,} generations, {database}, ms",
            *(f"{shape}: {what}" for shape, what in columns),
        ]
        kinds = next(iter(shapes.values()))
        yield table(head, [[kind, *(shapes[shape][kind][what] for shape, what in columns)] for kind in kinds])


if __name__ == "__main__":
    main()
