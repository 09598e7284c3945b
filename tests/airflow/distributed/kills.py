"""Who is killed and when: a worker with a paid POST unanswered, a triggerer with waits, a worker inside of an archive.

Each kill waits for its moment, so that it cannot miss.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from demo.__main__ import say
from tests.airflow.distributed.watch import Instance, Watch
from tests.airflow.faults.kling import Kling

TRIGGERER = "triggerer-1"
TRIGGERS_EACH = 2  # triggers that each triggerer must have when one of them is killed
SILENCE = 4.0  # seconds without a heartbeat that tell the dead triggerer from the other, which beats every second


@dataclass(frozen=True)
class Kill:
    """A process that was killed.

    :param process: its name in the Procfile.
    :param victim: the task instance that the kill was aimed at.
    """

    process: str
    victim: Instance | None = None


def kill_all(watch: Watch, kling: Kling, rows: Mapping[str, Sequence[str]]) -> list[Kill]:
    """Kill each in its turn, while the run goes on.

    :param rows: the prompts of each task group.
    """
    early, late = len(rows["deferred"]) // 6, len(rows["from_trigger"]) * 2 // 3
    sixth = sum(map(len, rows.values())) // 6
    create = _hold(kling, "create", rows["deferred"][early])
    worker_that_submits = _kill_worker(watch, kling, create, ("deferred.submit", early))
    # In a small run its moment may come while the triggerer is being killed.
    image = _hold(kling, "image", rows["from_trigger"][late])
    triggerer = _kill_triggerer(watch, after=sixth)
    return [worker_that_submits, triggerer, _kill_worker(watch, kling, image, ("from_trigger.archive", late))]


def _hold(kling: Kling, request: str, prompt: str) -> str:
    """Let a task's request wait at Kling for its answer; returns the fault's id."""
    return kling.fault(on=request, action="hold", point="after", match={"prompt": prompt}, times=1)


def _kill_worker(watch: Watch, kling: Kling, fault: str, doing: tuple[str, int]) -> Kill:
    """Kill the worker whose request is held, and start it again as a service manager would."""
    watch.until(lambda: _is_held(kling, fault), f"the request of {doing} was held")
    running = [(_owner(watch, one), one) for one in watch.running()]
    [(name, victim)] = [(owner, one) for owner, one in running if (one.task_id, one.map_index) == doing]
    assert name is not None
    watch.airflow.kill(name)
    kling.remove(fault)
    watch.airflow.start(name)
    lost = sum(owner == name for owner, _ in running)
    say(f"  {watch.seconds:4.0f} s  SIGKILL {name}, {victim} awaits an answer; {lost} running tasks lost")
    return Kill(name, victim)


def _is_held(kling: Kling, fault: str) -> bool:
    return any(one["id"] == fault and one["held"] for one in kling.control("GET", "faults")["faults"])


def _owner(watch: Watch, instance: Instance) -> str | None:
    try:
        ancestors = {one.pid for one in psutil.Process(instance.pid).parents()}
    except psutil.NoSuchProcess:
        return None
    return next((name for name, process in watch.airflow.processes.items() if process.pid in ancestors), None)


def _kill_triggerer(watch: Watch, after: int) -> Kill:
    """Kill one while each has triggers, and wait until the other goes on with them; nobody starts it again.

    :param after: archived rows.
    """
    watch.until(lambda: watch.counts()["archive success"] >= after, f"{after} rows were archived")
    before = watch.until(lambda: _shared_out(watch), "both triggerers had triggers")
    watch.airflow.kill(TRIGGERER)
    killed = time.monotonic()
    say(f"  {watch.seconds:4.0f} s  SIGKILL {TRIGGERER}, for good")
    dead = watch.until(lambda: _silent(watch), f"{TRIGGERER} was silent")
    watch.until(lambda: not before[dead] & watch.triggers()[dead], "the other triggerer had its triggers")
    took = time.monotonic() - killed
    say(f"  {watch.seconds:4.0f} s  its {len(before[dead])} waits are the other's, {took:.0f} s after the kill")
    return Kill(TRIGGERER)


def _shared_out(watch: Watch) -> dict[int, set[int]] | None:
    triggers = watch.triggers()
    shared = len(triggers) == 2 and all(len(each) >= TRIGGERS_EACH for each in triggers.values())
    return triggers if shared else None


def _silent(watch: Watch) -> int | None:
    beats = sorted((beat, triggerer) for triggerer, beat in watch.heartbeats().items())
    (oldest, dead), (newest, _) = beats[0], beats[-1]
    return dead if (newest - oldest).total_seconds() > SILENCE else None
