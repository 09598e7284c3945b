"""Kills a worker with an unanswered POST, a triggerer with waits, and a worker that downloads an image.

Before each kill the emulator holds what the kill is aimed at, until the state is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from deploy.local.terminal import say
from tests.airflow.distributed.progress import Instance, Progress
from tests.airflow.harness.emulator import Emulator

TRIGGERER = "triggerer-1"
TRIGGERS_EACH = 2  # triggers that each triggerer must have when one of them is killed


@dataclass(frozen=True)
class Kill:
    """A process that was killed.

    :param process: its name in the Procfile.
    :param victim: the task instance that the kill was aimed at.
    """

    process: str
    victim: Instance | None = None


def kill_all(
    progress: Progress, kling: Emulator, rows: Mapping[str, Sequence[str]], unfinished: Sequence[str]
) -> list[Kill]:
    """Kill each in its turn, while the run goes on.

    :param rows: the prompts of each task group.
    :param unfinished: the faults that keep generations from ending.
    """
    early, late = len(rows["deferred"]) // 6, len(rows["from_trigger"]) * 2 // 3
    create = _hold(kling, "create", rows["deferred"][early])
    worker_that_submits = _kill_worker(progress, kling, create, ("deferred.submit", early))
    image = _hold(kling, "image", rows["from_trigger"][late])
    triggerer = _kill_triggerer(progress, kling, unfinished)
    return [worker_that_submits, triggerer, _kill_worker(progress, kling, image, ("from_trigger.archive", late))]


def _hold(kling: Emulator, request: str, prompt: str) -> str:
    """Let a task's requests wait at Kling for their answers; returns the fault's id."""
    return kling.fault(on=request, action="hold", point="after", match={"prompt": prompt})


def _kill_worker(progress: Progress, kling: Emulator, fault: str, doing: tuple[str, int]) -> Kill:
    """Kill the worker whose request is held, and start it again as a service manager would."""
    name, victim = progress.wait_for(
        f"a held request of {doing}", lambda: _who_does(progress, doing) if kling.is_held(fault) else None
    )
    lost = sum(_owner(progress, one) == name for one in progress.running())
    progress.airflow.kill(name)
    kling.remove(fault)
    progress.airflow.restart(name)
    say(f"  {progress.seconds:4.0f} s  SIGKILL {name}, {victim} awaits an answer; {lost} running tasks lost")
    return Kill(name, victim)


def _who_does(progress: Progress, doing: tuple[str, int]) -> tuple[str, Instance] | None:
    """Return the worker that runs a task instance, and its try."""
    tries = [one for one in progress.running() if (one.task_id, one.map_index) == doing]
    found = [(name, one) for one in tries if (name := _owner(progress, one)) is not None]
    return found[0] if found else None


def _owner(progress: Progress, instance: Instance) -> str | None:
    try:
        ancestors = {one.pid for one in psutil.Process(instance.pid).parents()}
    except psutil.NoSuchProcess:
        return None
    return next((name for name, process in progress.airflow.processes.items() if process.pid in ancestors), None)


def _kill_triggerer(progress: Progress, kling: Emulator, unfinished: Sequence[str]) -> Kill:
    """Kill one while each has triggers, and wait until the other goes on with them; nobody starts it again."""
    before = progress.wait_for("triggers in both triggerers", lambda: _shared_out(progress))
    progress.airflow.kill(TRIGGERER)
    killed, at = time.monotonic(), datetime.now(UTC)
    say(f"  {progress.seconds:4.0f} s  SIGKILL {TRIGGERER}, for good")
    kling.let_go(unfinished)
    alive = progress.wait_for("a heartbeat of the other triggerer", lambda: _heard_after(progress, at))
    [dead] = before.keys() - {alive}
    progress.wait_for("the takeover of its triggers", lambda: not before[dead] & progress.triggers()[dead])
    took = time.monotonic() - killed
    say(f"  {progress.seconds:4.0f} s  its {len(before[dead])} waits are the other's, {took:.0f} s after the kill")
    return Kill(TRIGGERER)


def _shared_out(progress: Progress) -> dict[int, set[int]] | None:
    triggers = progress.triggers()
    shared = len(triggers) == 2 and all(len(each) >= TRIGGERS_EACH for each in triggers.values())
    return triggers if shared else None


def _heard_after(progress: Progress, at: datetime) -> int | None:
    return next((triggerer for triggerer, beat in progress.heartbeats().items() if beat > at), None)
