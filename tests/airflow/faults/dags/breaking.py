"""Kills task processes: one ends itself with SIGKILL at a named point, as its run's conf says.

``prepare`` runs in the task process just before the operator. A kill is ``{"task", "point", "when", "nth", "whom"}``:
when a try is at ``point`` for the nth time, ``before`` or ``after`` it, ``whom`` dies: the ``task`` process, or the
``worker`` as well, so that nobody is left to report the death and Airflow has to miss its heartbeat. Each kill happens
once: a file marks it, which is also how the table counts them.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MARKS = "KLING_FAULTS_MARKS"


def prepare(context: Mapping[str, Any]) -> None:
    """Set the operator's options, write down this process, and prepare the kills of this task."""
    task, ti = context["task"], context["ti"]
    conf = context["dag_run"].conf
    folder = Path(os.environ[MARKS]) / conf["token"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in _options(conf, task.task_id, first=not any(folder.glob(f"{task.task_id}.*.process"))):
        setattr(task, name, value)
    note = {"pid": os.getpid(), "worker": os.getppid(), "time": time.time(), "try": ti.try_number}
    (folder / f"{task.task_id}.{time.time_ns()}.process").write_text(json.dumps(note))
    kills = [_Kill(number, kill, folder) for number, kill in enumerate(conf.get("kills", ()))]
    _prepare_kills([kill for kill in kills if kill.task_id == task.task_id], task, ti)


def _options(conf: Mapping[str, Any], task_id: str, *, first: bool) -> list[tuple[str, Any]]:
    """Return what this process finds in its DAG file, which may have been edited since the first one read it."""
    options = dict(conf["options"].get(task_id, {}))
    if not first:
        options |= conf["edits"].get(task_id, {})
    if conf["own_triggerer"]:
        options["queue"] = conf["token"]
    return list(options.items())


class _Kill:
    """One kill of a run.

    :param number: its place in the run's list, the name of its mark.
    :param spec: see the module.
    """

    def __init__(self, number: int, spec: Mapping[str, Any], folder: Path) -> None:
        self.task_id: str = spec["task"]
        self.point: str = spec["point"]
        self.when: str = spec.get("when", "before")
        self.seconds: float = spec.get("seconds", 0.0)
        self._left: int = spec.get("nth", 1)
        self._worker = spec.get("whom") == "worker"
        self._mark = folder / f"{number}.kill"

    def count(self) -> None:
        """End this process, if this is the nth time and the kill has not happened yet."""
        self._left -= 1
        if self._left:
            return
        try:
            mark = os.open(self._mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        os.write(mark, json.dumps({"pid": os.getpid(), "time": time.time()}).encode())
        os.fsync(mark)
        if self._worker:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _prepare_kills(kills: list[_Kill], task: Any, ti: Any) -> None:
    for kill in kills:
        if kill.point == "start":
            kill.count()
        elif kill.point == "timer":
            timer = threading.Timer(kill.seconds, kill.count)
            timer.daemon = True
            timer.start()
        elif kill.point == "returned":
            task._post_execute_hook = lambda context, result, kill=kill: kill.count()
        else:
            owner, name, comes_by = _places(task, ti)[kill.point]
            _wrap(owner, name, kill, comes_by)


def _wrap(owner: Any, name: str, kill: _Kill, comes_by: Callable[..., bool]) -> None:
    wrapped = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        counts = comes_by(*args, **kwargs)
        if counts and kill.when == "before":
            kill.count()
        result = wrapped(*args, **kwargs)
        if counts and kill.when == "after":
            kill.count()
        return result

    setattr(owner, name, call)


def _places(task: Any, ti: Any) -> dict[str, tuple[Any, str, Callable[..., bool]]]:
    """Return every point: the owner of a function, the function's name, and which of its calls count."""
    from airflow_kling.api.client import KlingClient
    from airflow_kling.archive import download
    from airflow_kling.storage.local import LocalStore
    from airflow_kling.submission.record import RecordStore

    def always(*args: Any, **kwargs: Any) -> bool:
        return True

    def writing(state: str) -> Callable[..., bool]:
        return lambda _, record: record.state == state

    def storing(store: Any, key: str, *args: Any, **kwargs: Any) -> bool:
        return not is_record(store.uri(key))

    def publishing(source: Any, target: Any, **kwargs: Any) -> bool:
        return str(source).endswith(".part") and not is_record(target)

    def is_record(place: Any) -> bool:
        return "/submissions/" in str(place)

    return {
        "create": (KlingClient, "create", always),
        "poll": (KlingClient, "get", always),
        "record intent": (RecordStore, "write", writing("intended")),
        "record id": (RecordStore, "write", writing("submitted")),
        "xcom": (type(ti), "xcom_push", always),
        "resume": (type(task), "execute_complete", always),
        "download": (download, "download_result", always),
        "write": (LocalStore, "put", storing),
        "publish": (os, "replace", publishing),
    }
