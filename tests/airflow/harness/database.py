"""Runs a PostgreSQL for a real Airflow, and reads what Airflow has written into it.

SQLite has one writer: Airflow's API server may hold its lock for an answer that its event loop, which waits for the
same lock with another request, cannot send. One of both then ends as 500, "database is locked".
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from deploy.celery.services import postgres, rows


@dataclass(frozen=True)
class Database:
    """A PostgreSQL of its own for one Airflow.

    :param address: ``user:password@host:port/name``
    """

    address: str

    @property
    def env(self) -> dict[str, str]:
        """Airflow's settings for it."""
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.address}"}

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the answer of Airflow's database to a query."""
        return rows(self.address, query, *values)

    def tables_with(self, secret: str) -> list[str]:
        """Return the tables in which ``secret`` occurs, as text or in bytes."""
        traces = (secret.encode(), secret.encode().hex().encode())
        return [name for name, content in self._tables().items() if any(trace in content for trace in traces)]

    def _tables(self) -> dict[str, bytes]:
        found = self.rows("select tablename from pg_tables where schemaname = 'public'")
        names = [row["tablename"] for row in found]
        assert "task_instance" in names
        contents = {name: io.BytesIO() for name in names}
        with closing(psycopg2.connect(f"postgresql://{self.address}")) as connection, connection.cursor() as cursor:
            for name, content in contents.items():
                cursor.copy_expert(sql.SQL("copy {} to stdout").format(sql.Identifier(name)), content)
        return {name: content.getvalue() for name, content in contents.items()}


@contextmanager
def database(log: Path) -> Iterator[Database]:
    """Run a new PostgreSQL until the end of the block; only its log file stays."""
    with tempfile.TemporaryDirectory(prefix="kling-postgres-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)  # PostgreSQL runs as another user, when we are root
        with postgres(folder / "cluster", log) as address:
            yield Database(address)
