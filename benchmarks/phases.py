"""Measures what the phases of a task process take: each function that opens a phase pauses the one around it.

The process that forks tasks calls :func:`install`; the measuring goes along into every task. Modules that a task
imports by itself are measured from then on.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORT, CONNECTION, XCOM, OTHER = "import", "connection", "XCom", "other messages"
API, DOWNLOAD, S3_CLIENT, S3 = "Kling's API", "download", "S3 client", "S3 calls"
PHASES = (IMPORT, CONNECTION, XCOM, API, DOWNLOAD, S3_CLIENT, S3)

#: What opens a phase, by the module that has it.
WATCHED = {
    "airflow_kling.api.transport": {"Transport.__init__": API, "Transport.send": API, "shared_ssl_context": API},
    "airflow_kling.archive.download": {"download_result": DOWNLOAD},
    "botocore.client": {"BaseClient._make_api_call": S3},
    "botocore.session": {"Session.__init__": S3_CLIENT, "Session.create_client": S3_CLIENT},
    "airflow.providers.amazon.aws.hooks.base_aws": {"AwsGenericHook.get_client_type": S3_CLIENT},
}

_local = threading.local()
_cpu: defaultdict[str, float] = defaultdict(float)
_wall: defaultdict[str, float] = defaultdict(float)


def _switch() -> None:
    """Give the time since the last switch of this thread to the phase that it is in."""
    cpu, wall = time.thread_time(), time.perf_counter()
    stack = vars(_local).setdefault("stack", [])
    if stack:
        _cpu[stack[-1]] += cpu - _local.cpu
        _wall[stack[-1]] += wall - _local.wall
    _local.cpu, _local.wall = cpu, wall


def phase(name: str | Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which is a phase while it runs."""

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        _switch()
        _local.stack.append(name if isinstance(name, str) else name(*args, **kwargs))
        try:
            return function(*args, **kwargs)
        finally:
            _switch()
            _local.stack.pop()

    return timed


def _message(comms: Any, msg: Any) -> str:
    name = type(msg).__name__
    return CONNECTION if "Connection" in name or name == "MaskSecret" else XCOM if "XCom" in name else OTHER


def _watch(module_name: str) -> None:
    for path, name in WATCHED.get(module_name, {}).items():
        owner: Any = sys.modules[module_name]
        *outer, last = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, last, phase(name, getattr(owner, last)))


def _write(report: Path) -> None:
    report.write_text(json.dumps({"cpu": _cpu, "wall": _wall, "ended": time.perf_counter()}))


def install(report: Path) -> None:
    """Measure from now on; each task writes its report when it ends."""
    from airflow.sdk.execution_time import supervisor
    from airflow.sdk.execution_time.comms import CommsDecoder

    begin = (
        supervisor.block_orm_access
    )  # called in the forked process, once it has forgotten its parent's exit handlers

    def begin_task() -> None:
        for phases in (_cpu, _wall):
            phases.clear()
        atexit.register(_write, report)
        begin()

    supervisor.block_orm_access = begin_task

    CommsDecoder.send = phase(_message, CommsDecoder.send)  # type: ignore[method-assign]
    for module_name in WATCHED.keys() & sys.modules.keys():
        _watch(module_name)
    bootstrap: Any = importlib._bootstrap  # type: ignore[attr-defined]
    # What the import statement calls for a module that has not been imported yet.
    load = phase(IMPORT, bootstrap._find_and_load)

    def find_and_load(name: str, import_: Any) -> Any:
        known = name in sys.modules
        module = load(name, import_)
        if not known:
            _watch(name)
        return module

    bootstrap._find_and_load = find_and_load
