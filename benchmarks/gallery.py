"""What a page of the gallery costs with 10,000 archived generations, over HTTP, from a real API server.

The same 10,000 once as mapped tasks of a single run, and once in a run each; on SQLite, and on PostgreSQL where its
server programs are installed. Each figure is of requests one after the other, with a user's cookie; CPU is the API
server's own.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil

from benchmarks.processes import is_quick
from benchmarks.report import percentile, progress, publish, table
from deploy.local.processes import free_ports, server, wait_until
from deploy.local.stack import CHECKOUT, USER, settings

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
    return {"SQLite": sqlite, **({"PostgreSQL": postgresql} if postgresql_programs() else {})}


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/airflow.db"


def postgresql_programs() -> Path | None:
    """Where Debian keeps ``initdb``, which is in nobody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found and shutil.which("runuser") else None


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server of its own, whose owner must not be root."""
    programs = postgresql_programs()
    [port] = free_ports(1)
    data = folder / "postgresql"
    folder.chmod(0o755)
    data.mkdir()
    shutil.chown(data, "postgres")
    as_owner = ["runuser", "-u", "postgres", "--"]
    quietly = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # The collation of most installations, which sorts "_" elsewhere than ASCII does.
    collation = ["--locale-provider=icu", "--icu-locale=en-US", "--encoding=UTF8"]
    subprocess.run([*as_owner, f"{programs}/initdb", "-D", data, "--auth=trust", *collation], cwd="/", **quietly)
    command = [*as_owner, f"{programs}/postgres", "-D", data, "-p", str(port), "-k", "", "-h", "127.0.0.1"]
    log = folder / "postgresql.log"
    with server([str(one) for one in command], log=log, env=os.environ, cwd=Path("/")) as process:

        def is_ready() -> bool | None:
            return "ready to accept connections" in log.read_text() or None

        wait_until(is_ready, process=process, log=log, timeout=30, what="PostgreSQL")
        address = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        subprocess.run([f"{programs}/createdb", *address, "airflow"], **quietly)
        yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/airflow"


@contextmanager
def api_server(folder: Path, connection: str, dag_id: str, count: int) -> Iterator[Visit]:
    """An API server on a seeded database; yields a client that has logged in."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    (folder / "passwords.json").write_text(json.dumps({USER: "benchmark"}))
    env = os.environ | settings(folder, url, free_ports(2))
    env |= {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": connection,
        "AIRFLOW__KLING__GALLERY_CACHE_DIRECTORY": str(folder / "thumbnails"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "PYTHONPATH": str(CHECKOUT),
    }
    seed = [sys.executable, "-m", "benchmarks.gallery_seed", str(folder / "pictures"), dag_id, str(count), str(ON_DISK)]
    airflow = str(Path(sys.executable).parent / "airflow")
    for step in ([airflow, "db", "migrate"], seed):
        subprocess.run(step, env=env, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = [airflow, "api-server", "--apps", "core"]
    log = folder / "api-server.log"
    with server(command, log=log, env=env, cwd=folder) as process:
        wait_until(lambda: _is_up(url), process=process, log=log, timeout=120, what="The API server")
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            answer = httpx.post(f"{url}/auth/token", json={"username": USER, "password": "benchmark"}, trust_env=False)
            client.cookies.set("_token", answer.raise_for_status().json()["access_token"])
            yield Visit(client, psutil.Process(process.pid))


def _is_up(url: str) -> bool | None:
    try:
        return httpx.get(f"{url}/api/v2/version", trust_env=False).is_success or None
    except httpx.TransportError:
        return None


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
        return {"median": statistics.median(took), "p95": percentile(sorted(took), 0.95), "CPU": cpu}


def measure(visit: Visit, rounds: int, **names: str) -> dict[str, dict[str, float]]:
    """Each kind of page, and the newest page's thumbnails."""
    found = {}
    for name, query in PAGES.items():
        wanted = {key: value.format(**names) if isinstance(value, str) else value for key, value in query.items()}
        address = f"/kling/gallery?{urlencode(wanted)}"
        visit.time([(address, {})])
        found[name] = visit.time([(address, {})] * rounds)
    page = visit.client.get("/kling/gallery").text
    thumbs = [f"/kling/{html.unescape(one)}" for one in re.findall(r'<img src="(dags/[^"]*)"', page)]
    assert len(thumbs) == 150, len(thumbs)
    for name in ("thumbnail, the first time", "thumbnail, cached"):
        found[name] = visit.time([(one, {}) for one in thumbs])
    known = [(one, {"If-None-Match": visit.client.get(one).headers["etag"]}) for one in thumbs]
    found["thumbnail, the browser has it"] = visit.time(known)
    ids = urlencode([("id", one) for one in re.findall(r'data-kling="(\d+)"', page)])
    found["states of 50"] = visit.time([(f"/kling/states?{ids}", {})] * rounds)
    return found


def tables(data: dict[str, Any]) -> Iterator[str]:
    """Milliseconds, a table for each database."""
    columns = [(shape, what) for shape in SHAPES for what in ("median", "p95", "CPU")]
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
