"""Starts, ends and kills the processes of one Airflow, each with a log file of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.processes import ServerDied, kill_tree, server, signals_ignored, stop_all, tail

GRACE = 20.0  # seconds that a process may take to end


@dataclass
class Components:
    """The processes of one Airflow.

    :param env: the environment of each process.
    :param logs: the folder of their log files, also their working directory.
    :param processes: the running ones by name.
    :param stack: ends them, the last one first.
    """

    env: dict[str, str]
    logs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a process, or start it again.

        :param env: in place of the environment of all.
        """
        log = self.log_of(name)
        with suppress(FileNotFoundError):
            log.rename(log.with_suffix(".killed.log"))
        running = server(command, log=log, env=self.env if env is None else env, cwd=self.logs, grace=GRACE)
        self.processes[name] = self.stack.enter_context(running)
        return self.processes[name]

    def run(self, *command: str) -> None:
        """Run a command to its end.

        :raises ServerDied: it failed.
        """
        done = subprocess.run(command, env=self.env, cwd=self.logs, capture_output=True, text=True)
        if done.returncode:
            raise ServerDied(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")

    def log_of(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    def check(self) -> None:
        """Raise ``ServerDied`` when a process has ended that nobody has killed."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ServerDied(f"{name} ended with exit code {process.returncode}:\n{tail(self.log_of(name))}")

    def kill(self, name: str) -> None:
        """SIGKILL a process and all its descendants, as the loss of its machine would."""
        kill_tree(self.processes.pop(name))

    def stop(self, *, but: Collection[str] = ()) -> None:
        """End the processes beside each other, apart from some that ``stack`` ends after them."""
        with signals_ignored():
            stop_all([process for name, process in self.processes.items() if name not in but], GRACE)
