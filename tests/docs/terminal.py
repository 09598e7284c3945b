"""Types the commands of a page into a shell, as a reader does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from deploy.local.waiting import wait_for

_DONE = "--- typed, exit code"


class Terminal:
    """A shell that keeps its variables and folder from block to block, as a reader's does.

    :param log: gets what it prints.
    """

    def __init__(self, log: Path, *, cwd: Path, env: Mapping[str, str]) -> None:
        self._log = log
        self._typed = 0
        with log.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._type("trap 'echo \"--- failed: $BASH_COMMAND\"' ERR")

    def run(self, text: str, *, timeout: float) -> str:
        """Type a block, wait for its end, return what it printed; any command that fails is an error."""
        self._typed += 1
        before = len(self.output())
        done = f"{_DONE} {self._typed}:"
        self._type(f'{text}\necho "{done} $?"')
        printed = self._wait_for(done, timeout, before)
        assert "--- failed: " not in printed, printed
        assert f"{done} 0" in printed, printed
        return printed.partition(_DONE)[0]

    def start(self, text: str, *, until: str, timeout: float) -> None:
        """Type a block whose last command goes on, wait until it has printed a line."""
        before = len(self.output())
        self._type(text)
        self._wait_for(until, timeout, before)

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self, *, grace: float = 30.0) -> None:
        """Press Ctrl-C, and leave nothing behind."""
        family = psutil.Process(self._shell.pid).children(recursive=True) if self._shell.poll() is None else []
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGINT)
        assert self._shell.stdin
        self._shell.stdin.close()
        _, left = psutil.wait_procs(family, timeout=grace)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)
        self._shell.kill()
        self._shell.wait()

    def _type(self, text: str) -> None:
        assert self._shell.stdin
        self._shell.stdin.write(f"{text}\n".encode())
        self._shell.stdin.flush()

    def _wait_for(self, what: str, timeout: float, before: int) -> str:
        def printed() -> str:
            return self.output()[before:]

        wait_for(
            repr(what),
            lambda: what in printed() or self._shell.poll() is not None,
            timeout=timeout,
            describe=lambda: printed()[-5000:],
        )
        assert what in printed(), f"the shell has ended before {what!r}:\n{printed()[-5000:]}"
        return printed()
