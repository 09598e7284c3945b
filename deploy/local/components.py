"""Starts, ends and kills the processes of one Airflow, each with a log file of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.processes import ServerDied, kill_tree, server, tail


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

    def start(
        self, name: str, *command: str, grace: float = 20.0, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process, or start it again.

        :param grace: seconds that it may take to end.
        :param env: in place of the environment of all.
        """
        log = self.log_of(name)
        with suppress(FileNotFoundError):
            log.rename(log.with_suffix(".killed.log"))
        running = server(command, log=log, env=self.env if env is None else env, cwd=self.logs, grace=grace)
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

    def interrupt(self, *, but: Collection[str] = ()) -> None:
        """Ask every process to end, at once, so that they end beside each other; ``stack`` waits for each."""
        for name, process in self.processes.items():
            if name not in but and process.poll() is None:
                process.send_signal(signal.SIGINT)
