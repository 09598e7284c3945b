"""Checks what is around the API: the connection, versions, plugin, triggerer and storage. Nothing here costs money."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from io import BytesIO
from typing import TYPE_CHECKING

from airflow_kling.doctor.findings import Finding, fail, note, ok
from airflow_kling.doctor.network import base_url_of
from airflow_kling.exceptions import KlingError
from airflow_kling.hooks.kling import KlingHook

if TYPE_CHECKING:
    from airflow_kling.api.connection import Settings

_DISTRIBUTIONS = (
    "airflow-provider-kling",
    "apache-airflow",
    "apache-airflow-providers-common-compat",
    "apache-airflow-providers-standard",
    "apache-airflow-providers-amazon",
)


def check_versions() -> Iterator[Finding]:
    """Tell the versions that a bug report needs."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    yield note("versions", ", ".join(found) + ".")


def check_plugin() -> Iterator[Finding]:
    """Tell whether Airflow finds the provider's plugins."""
    plugins = [
        point.name for point in entry_points(group="airflow.plugins") if point.value.startswith("airflow_kling.")
    ]
    if plugins:
        yield ok("plugin", f"Airflow loads {', '.join(sorted(plugins))}; the gallery needs Airflow 3.1 or newer.")
    else:
        yield fail("plugin", "The package is not installed, so Airflow finds no plugin: install it with pip.")


def check_connection(kling_conn_id: str) -> tuple[Settings | None, list[Finding]]:
    """Look the connection up and check its fields."""
    try:
        settings = KlingHook(kling_conn_id).settings
    except KlingError as error:
        return None, [fail("connection", str(error))]
    except Exception as error:  # a secrets backend has errors of its own
        text = f"Connection {kling_conn_id!r} cannot be looked up here ({type(error).__name__}: {error}); add it first."
        return None, [fail("connection", text)]
    return settings, [ok("connection", f"{kling_conn_id}: gateway {settings.gateway} at {base_url_of(settings)}.")]


def check_records(settings: Settings) -> Iterator[Finding]:
    """Tell where submission records are kept."""
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

    if settings.record_store:
        yield from check_storage("record store", settings.record_store)
    elif AIRFLOW_V_3_3_PLUS:
        yield ok("record store", "Submission records are kept in Airflow's task state store.")
    else:
        yield note(
            "record store",
            "This Airflow keeps no submission records, so less can be proven after a crash: name an object storage in "
            "the connection's record_store (docs/reliability.md).",
        )


def check_triggerer() -> Iterator[Finding]:
    """Tell whether a triggerer runs, as far as this process may read Airflow's database."""
    try:
        from airflow.jobs.job import most_recent_job
        from airflow.utils.session import create_session

        with create_session() as session:
            job = most_recent_job("TriggererJob", session=session)
            alive = job is not None and job.is_alive()
    except Exception as error:  # no database here, as on a worker of Airflow 3
        yield note("triggerer", f"Whether one runs cannot be told here ({type(error).__name__}).")
        return
    if alive:
        yield ok("triggerer", "One runs.")
    else:
        yield fail("triggerer", "None runs: deferred tasks would wait for good. Start `airflow triggerer`.")


def check_storage(subject: str, destination: str) -> Iterator[Finding]:
    """Write, read, hash and remove an object of a few bytes."""
    from airflow_kling.storage.open import open_store

    content = secrets.token_bytes(64)
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"airflow-kling-doctor-{secrets.token_hex(8)}/probe.bin"
    step = "opened"
    try:
        store = open_store(destination)
        step = "written to"
        store.put(key, BytesIO(content), content_type="application/octet-stream", sha256=sha256)
        try:
            step = "read from"
            read = BytesIO()
            if not store.download(key, read) or read.getvalue() != content:
                yield fail(subject, f"{destination} does not give back what was written to it.")
                return
            step = "asked for sizes and hashes"
            stored = store.stat(key)
        finally:
            store.remove(key)
    except Exception as error:  # each storage library has errors of its own, whose texts may hold signed URLs
        reason = str(error) if isinstance(error, KlingError) else type(error).__name__
        yield fail(subject, f"{destination} cannot be {step} ({reason}): check connection, bucket and rights.")
        return
    if stored is None or stored.bytes != len(content) or stored.sha256 not in (None, sha256):
        yield fail(subject, f"{destination} tells another size or hash than what was written to it.")
    else:
        hashes = "knows hashes" if stored.sha256 else "knows no hashes, so archives are read again to compare them"
        yield ok(subject, f"{destination} can be written, read and cleared; it {hashes}.")
