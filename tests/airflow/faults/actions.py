"""Breaks a run while it is under way, as users and operators of an Airflow do."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from deploy.local.processes import tree
from deploy.local.waiting import wait_for
from tests.airflow.faults.case import Case

LONG_SILENCE = 150.0  # seconds by which a wait would be longer if the second triggerer granted a new deadline
WAITER = {"together": "generate", "apart": "wait", "compact": "generate"}
REFUSED_BY_THE_STORAGE = r"Kling task \d+ is billed: a retry archives it"  # the task says this of any storage's error
SLEEPING = "230 "  # clock_nanosleep on x86-64
IN_A_ROW = 5  # times that a process is found at rest until it counts as at rest
REFUSALS = 2  # until the account has a free slot
POLLING = ("232 ", "281 ")  # epoll_wait and epoll_pwait on x86-64


def end_when_the_deferral_is_heard(case: Case) -> None:
    """Let the generation end only when the scheduler knows that the deferring process has ended.

    An event that comes sooner may make the scheduler fail the task, which then does not resume: it is tried again.
    """
    waiter = _wait_until_it_waits(case)
    case.airflow.wait_until_worker_is_done(case.runs[0], waiter, case.task(waiter)["try_number"])
    case.lift()


def kill_while_held(case: Case) -> None:
    """SIGKILL the task while the emulator, which has processed its request, holds back the answer."""
    case.kling.wait_until_held(case.faults[0])
    case.kill_task(next(one["task_id"] for one in case.instances() if one["state"] == "running"))
    case.lift()


def wait_until_worker_is_free(case: Case) -> None:
    """Refuse the task until it is deferred, again and again: no worker waits for a slot."""
    case.wait_for("the refusals", lambda: case.hits()[case.faults[0]] >= REFUSALS)
    case.wait_for_state("generate", "deferred")
    case.lift()


def restart_triggerer(case: Case) -> None:
    """SIGKILL the triggerer in which the task waits, and start another one."""
    _move_to_another_triggerer(case, case.airflow.kill)
    case.lift()


def restart_triggerer_of_an_endless_wait(case: Case) -> None:
    """The same for a generation that does not end, with a long time between the two triggerers."""
    _move_to_another_triggerer(case, case.airflow.kill, silence=LONG_SILENCE)


def run_trigger_twice(case: Case) -> None:
    """Stop the triggerer until another one has taken over, and let both of them see the end and fire."""

    def stop(name: str) -> None:
        for one in tree(case.airflow.processes[name]):
            one.suspend()

    supervisor, *runners = tree(case.airflow.processes[_move_to_another_triggerer(case, stop)])
    polls = case.kling.fault(on="query", action="delay", seconds=0, match={"prompt": case.token})
    case.lift()
    case.faults.append(polls)
    for runner in runners:
        runner.resume()
    # Otherwise the supervisor, which finds that the trigger is another triggerer's, cancels it before it has polled.
    case.wait_for("a poll by each triggerer", lambda: case.hits()[polls] >= 2)
    for runner in runners:
        wait_until_all_is_read(runner)
    supervisor.resume()


def _move_to_another_triggerer(case: Case, end: Callable[[str], None], *, silence: float = 0.0) -> str:
    """Wait until one triggerer runs the trigger, end it, and wait until another one runs it.

    :param end: kills or stops a triggerer by its name.
    :param silence: seconds in which there is no triggerer.
    """
    waiter, first = WAITER[case.row.dag], f"{case.token}-1"
    case.airflow.triggerer(first, case.token)
    before = case.wait_for_trigger(waiter)
    _wait_until_the_trigger_has_polled(case)
    end(first)
    time.sleep(silence)
    case.airflow.triggerer(f"{case.token}-2", case.token)
    after = case.wait_for_trigger(waiter, not_by=before["triggerer_id"])
    case.taken_over = time.time()
    if after["kwargs"] != before["kwargs"]:
        raise AssertionError("the trigger has other arguments, so another deadline")
    return first


def clear_while_deferred(case: Case) -> None:
    """Clear the waiting task, and let both generations end once it waits again."""
    waiter = _wait_until_it_waits(case)
    before = case.task(waiter)["try_number"]
    case.user.clear(case.dag_id, case.runs[0], waiter)

    def waits_again() -> bool:
        task = case.task(waiter)
        return bool(task["try_number"] > before and task["state"] == "deferred")

    case.wait_for("the cleared task to wait again", waits_again)
    if any("No longer waiting" in said for said in case.row.end.says):
        # Airflow cancels the old trigger some time later; were the generation to end before that, it would fire.
        case.wait_for("the end of the old trigger", lambda: "No longer waiting" in case.log())
    case.lift()


def mark_failed_while_deferred(case: Case) -> None:
    """Mark the waiting task as failed."""
    waiter = _wait_until_it_waits(case)
    case.user.mark_failed(case.dag_id, case.runs[0], waiter)
    case.lift()


def mark_failed_while_waiting_on_a_worker(case: Case) -> None:
    """Mark the task as failed while its process polls again and again."""
    case.wait_for("the first poll", lambda: case.hits().get(case.faults[0]))
    case.user.mark_failed(case.dag_id, case.runs[0], "generate")


def clear_after_the_end(case: Case) -> None:
    """Clear the archiving task when it has failed, and the fault is removed."""
    case.wait_for_state("archive", "failed")
    case.wait_for("the end of the run", case.ended)
    case.lift()
    before = case.task("archive")["try_number"]
    case.user.clear(case.dag_id, case.runs[0], "archive")
    case.wait_for("the next try", lambda: case.task("archive")["try_number"] > before)


def refuse_to_write(case: Case) -> None:
    """Put a file where the folder of the generation has to be, and take it away when the task has failed of it."""
    _wait_until_it_waits(case)
    in_the_way = case.archive / case.kling.tasks(case.token)[0]["task_id"]
    case.archive.mkdir(parents=True, exist_ok=True)
    in_the_way.touch()
    try:
        end_when_the_deferral_is_heard(case)
        case.wait_for("the refusal", lambda: re.search(REFUSED_BY_THE_STORAGE, case.log()))
    finally:
        in_the_way.unlink()


def make_the_run_again(case: Case) -> None:
    """Delete the run when it has ended, and make it again under its id; the POST of the second one fails once."""
    case.wait_for("the end of the run", case.ended)
    case.user.delete(case.dag_id, case.runs[0])
    case.faults.append(case.kling.fault(on="create", action="error", code=5000, times=1, match={"prompt": case.token}))
    case.user.trigger(case.dag_id, case.conf(), case.runs[0])


def run_it_in_another_airflow(case: Case) -> None:
    """Have another Airflow run the same run on the same account; its POST fails once."""
    case.wait_for("the end of the run", case.ended)
    case.faults.append(case.kling.fault(on="create", action="error", code=5000, times=1, match={"prompt": case.token}))
    assert case.another is not None
    with case.another(f"another-{case.token}") as other:
        other.trigger(case.dag_id, case.conf(), case.runs[0])
        case.wait_for("the archive of the other Airflow", lambda: len(list(case.archive.glob("*/manifest.json"))) == 2)


def archive_twice_at_once(case: Case) -> None:
    """Start a second archiving run, and let both go on only when both download the same image."""
    case.start_run()
    case.kling.wait_until_held(case.faults[0], count=2)
    case.lift()


def have_the_core_fail_it(case: Case) -> None:
    """Make Airflow's scheduler fail a deferred task for a "state mismatch" (apache/airflow#67287).

    The scheduler fails it when it queues the task for its resumption before it has read the executor's event about the
    process that has deferred. So it stands still from before the deferral until the trigger has fired and the executor
    has the event, and it is stopped while it sleeps between two rounds: the next round queues the task, and reads
    events after that. The resumed process cannot end before: its poll is held until the scheduler has failed the task.
    """
    scheduler = case.airflow.scheduler
    case.kling.wait_until_held(case.faults[0])
    worker = psutil.Process(case.processes("generate")[-1]["worker"])
    stop_asleep(scheduler.pid)
    try:
        case.lift()
        case.wait_for_state("generate", "scheduled")
        case.wait_for("the end of the worker's task", lambda: "<idle>" in " ".join(worker.cmdline()))
        held = case.kling.fault(on="query", action="hold", point="before", match={"prompt": case.token})
    finally:
        scheduler.send_signal(signal.SIGCONT)
    try:
        case.wait_for("the state mismatch in Airflow's audit log", lambda: case.has_event("state mismatch"))
    finally:
        case.kling.remove(held)


def wait_until_all_is_read(process: psutil.Process) -> None:
    """Wait until a process with an event loop has read every answer: it waits for more, and none is unread."""

    def waits() -> bool:
        sockets = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
        ours = {one.laddr.port for one in process.net_connections("tcp4") if one.status == psutil.CONN_ESTABLISHED}
        unread = [line for line in map(str.split, sockets) if int(line[1][-4:], 16) in ours and line[4][-8:] != "0" * 8]
        return not unread and syscall_of(process.pid).startswith(POLLING)

    seen: list[bool] = []

    def waits_on() -> bool:
        seen.append(waits())
        return len(seen) > IN_A_ROW and all(seen[-IN_A_ROW:])

    wait_for(f"process {process.pid} to read every answer", waits_on)


def syscall_of(pid: int) -> str:
    """Return the system call in which a process is: its number and arguments, or ``running``."""
    return Path(f"/proc/{pid}/syscall").read_text()


def stop_asleep(pid: int) -> None:
    """SIGSTOP a process while it is in ``time.sleep``."""

    def sleeps() -> bool:
        return syscall_of(pid).startswith(SLEEPING)

    def stopped_asleep() -> bool:
        if not sleeps():
            return False
        os.kill(pid, signal.SIGSTOP)
        wait_for("the process to stand still", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        if sleeps():
            return True
        os.kill(pid, signal.SIGCONT)  # it woke up in between
        return False

    wait_for("the scheduler to sleep", stopped_asleep, pause=0.01)


def _wait_until_it_waits(case: Case) -> str:
    waiter = WAITER[case.row.dag]
    case.wait_for_state(waiter, "deferred")
    _wait_until_the_trigger_has_polled(case)
    return waiter


def _wait_until_the_trigger_has_polled(case: Case) -> None:
    """Wait until the trigger runs; the first poll is the worker's, before it defers."""
    case.wait_for("the trigger's first poll", lambda: case.hits().get(case.faults[0], 0) > 1)
