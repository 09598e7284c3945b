"""Runs what Airflow's processes share: a PostgreSQL and a Redis of their own, in a scratch folder, on free ports."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras

from deploy.local.processes import free_ports, server, wait_until

USER = DATABASE = "airflow"
# Nothing here outlives the run, so nothing needs to survive a power cut.
SCRATCH_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
PLAIN = ("--locale", "C.UTF-8")


class NotInstalled(RuntimeError):
    """A server's program is missing."""


@contextmanager
def postgres(folder: Path, log: Path, locale: Sequence[str] = PLAIN) -> Iterator[str]:
    """Run a new PostgreSQL cluster on a free port of 127.0.0.1; yields ``user:password@host:port/database``.

    As root it runs as the user ``postgres``, since PostgreSQL refuses root.

    :param folder: new; its parents must be open to that user.
    :param locale: options of ``initdb``.
    """
    folder.mkdir()
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password := secrets.token_urlsafe(16))
    unprivileged = _as_postgres(folder, secret)
    data = str(folder / "data")
    initdb = ["--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8", *locale]
    subprocess.run(
        [*unprivileged, _program("initdb"), "--pgdata", data, *initdb, "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    [port] = free_ports(1)
    settings = SCRATCH_SETTINGS | {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(port)}
    command = [*unprivileged, _program("postgres"), "-D", data]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    address = f"{USER}:{password}@127.0.0.1:{port}"
    with server(command, log=log, env=os.environ, cwd=folder) as process:
        wait_until(lambda: _create_database(address), process=process, log=log, what="PostgreSQL")
        yield f"{address}/{DATABASE}"


def add_database(address: str, name: str) -> str:
    """Make a further database with a user of its own, who cannot connect to the first one.

    :param address: of the first database, as :func:`postgres` yields it.
    :return: the address of the new one.
    """
    server_address = address.rpartition("@")[2]
    first = server_address.rpartition("/")[2]
    password = secrets.token_urlsafe(16)
    with closing(psycopg2.connect(f"postgresql://{address}")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create role {name} login password %s", (password,))
            cursor.execute(f"create database {name} owner {name}")
            cursor.execute(f"revoke connect on database {first} from public")
    return f"{name}:{password}@{server_address.rpartition('/')[0]}/{name}"


def rows(address: str, query: str, *values: Any) -> list[dict[str, Any]]:
    """Return the answer of a database to a query.

    :param address: ``user:password@host:port/database``.
    """
    with (
        closing(psycopg2.connect(f"postgresql://{address}")) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(query, values)
        return [dict(row) for row in cursor.fetchall()]


def _as_postgres(*files: Path) -> list[str]:
    """Hand the files to the user ``postgres`` when we are root; returns what to put in front of a command."""
    if os.geteuid():
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise NotInstalled("PostgreSQL does not run as root, and there is no user postgres.") from None
    for file in files:
        os.chown(file, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _create_database(address: str) -> bool | None:
    try:
        connection = psycopg2.connect(f"postgresql://{address}/postgres", connect_timeout=2)
    except psycopg2.OperationalError:
        return None
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create database {DATABASE}")
    connection.close()
    return True


@contextmanager
def redis_server(folder: Path, log: Path) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk on a free port of 127.0.0.1; yields its URL."""
    folder.mkdir()
    [port] = free_ports(1)
    password = secrets.token_urlsafe(16)
    config = folder / "redis.conf"
    config.touch(mode=0o600)
    config.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir {folder}\n')
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with server([_program("redis-server"), str(config)], log=log, env=os.environ, cwd=folder) as process:
        wait_until(lambda: _pong(url), process=process, log=log, what="Redis")
        yield url


def _pong(url: str) -> bool | None:
    import redis  # tests that only want the PostgreSQL run where no Celery is installed

    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return None


def is_installed(name: str) -> bool:
    """Tell whether a program of the servers is installed."""
    return _path_of(name) is not None


def _program(name: str) -> str:
    if (found := _path_of(name)) is None:
        raise NotInstalled(f"{name} is not installed; deploy/celery/install.sh installs it (Debian, Ubuntu).")
    return found


def _path_of(name: str) -> str | None:
    """Return the path of a program; Debian keeps PostgreSQL's apart, one folder for each version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    folders = [*map(str, reversed(versions)), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))
