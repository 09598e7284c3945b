"""Starts a server as a child process, waits until it is ready, and leaves nothing of it behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from deploy.local.waiting import HUNG, wait_for

T = TypeVar("T")


class ServerDied(RuntimeError):
    """A server ended, or did not get ready in time."""


_PORTS = range(20_000, 32_768)  # below those that systems give to clients
_reserved: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports of 127.0.0.1 that nobody listens on, and that no other caller gets.

    A server may take a minute until it listens. Until this process ends, it holds the UDP port of the same number, so
    that another process that looks for a port meanwhile does not get this one.
    """
    return [_free_port() for _ in range(count)]


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
        else:
            _reserved.append(reservation)
            return port


@contextmanager
def server(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path, ends_first: str = "", grace: float = 20.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in its own session, with its output in ``log``, and end it and its descendants on the way out.

    Its own session keeps the terminal's Ctrl-C away from it: it is ended here, once, and in order.

    :param ends_first: last word of the command line of a child that is to end before all else
    :param grace: seconds that each step of the end may take
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_restore_sigint,
        )
    try:
        yield process
    finally:
        with signals_ignored():
            stop(process, ends_first, grace)


def _restore_sigint() -> None:
    """Let SIGINT end the process: a background job of a shell ignores it, and so do the processes that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM: an impatient second Ctrl-C must not leave servers running."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop(process: subprocess.Popen[bytes], ends_first: str, grace: float) -> None:
    """End a server and everything it started."""
    family = _family(process)
    _end_first({child for child in family if ends_first and _last_word(child) == ends_first}, grace)
    stop_all([process], grace, family)


def stop_all(
    processes: Collection[subprocess.Popen[bytes]], grace: float, family: Collection[psutil.Process] = ()
) -> None:
    """End servers beside each other, and everything they started.

    ``airflow standalone`` ends its children on SIGINT and orphans them on SIGTERM; what outlives its parent (a worker
    that is being forked while the scheduler goes) is ended by its process id. Each gets one SIGINT: with a second one
    Airflow's components no longer wait for what runs in them.

    :param family: more processes that were started by them.
    """
    all_of_them = {*family, *(one for process in processes for one in _family(process))}
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + grace
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        all_of_them |= {one for process in processes for one in _family(process)}
        time.sleep(0.1)
    _end(all_of_them, grace=5.0)
    for process in processes:
        process.wait()


def _family(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    try:
        return set(tree(process))
    except psutil.NoSuchProcess:
        return set()


def _last_word(process: psutil.Process) -> str:
    try:
        return str((process.cmdline() or [""])[-1])
    except psutil.Error:
        return ""


def _end_first(processes: set[psutil.Process], grace: float) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    deadline = time.monotonic() + grace
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that its parent has not reaped yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a process that we started and all its descendants, parents first."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process that we started and all its descendants; they have no time to tell anybody."""
    stopped: list[psutil.Process] = []
    # Stopped first, parents before children: a process that is killed while its parent runs may be replaced by a fork.
    while fresh := [one for one in tree(process) if one not in stopped]:
        for one in fresh:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        stopped += fresh
    for one in stopped:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def _end(processes: set[psutil.Process], grace: float) -> None:
    for send in (psutil.Process.terminate, psutil.Process.kill):
        alive = [p for p in processes if p.is_running()]
        for one in alive:
            with suppress(psutil.NoSuchProcess):
                send(one)
        psutil.wait_procs(alive, timeout=grace)


def wait_until(
    ready: Callable[[], T | None], *, process: subprocess.Popen[bytes], log: Path, what: str, timeout: float = HUNG
) -> T:
    """Call ``ready`` until it answers something.

    :param what: names the server in the error.
    :raises ServerDied: the server has ended, or is not ready after ``timeout`` seconds; has the end of its log.
    """

    def check() -> None:
        if process.poll() is not None:
            raise ServerDied(f"{what} ended with exit code {process.returncode}:\n{tail(log)}")

    try:
        return wait_for(what, ready, timeout=timeout, check=check)
    except TimeoutError:
        raise ServerDied(f"{what} was not ready after {timeout:.0f} s:\n{tail(log)}") from None


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file."""
    return os.linesep.join(log.read_text(errors="replace").splitlines()[-lines:])
