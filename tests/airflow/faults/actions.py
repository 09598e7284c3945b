"""What users and operators of the cluster do to a run while it is under way."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from tests.airflow.faults.case import Case
from tests.airflow.faults.lines import signal_tree, tree

UNHEARD = 8.0  # seconds after which a silent triggerer counts as dead: more than triggerer_health_check_threshold
LONG_SILENCE = 25.0  # seconds by which a wait would be longer if a new triggerer granted a new one
RUNNERS_LEAD = 3.0
WAITER = {"together": "generate", "apart": "wait"}


def kill_while_held(case: Case) -> None:
    """SIGKILL the task while the emulator, which has processed its request, holds back the answer."""
    case.kling.wait_until_held(case.faults[0])
    case.kill_task(next(one["task_id"] for one in case.instances() if one["state"] == "running"))
    case.lift()


def watch_it_free_its_worker(case: Case) -> None:
    """See the task deferred while Kling refuses it: no worker waits for a slot."""
    case.wait_for_state("generate", "deferred")
    if case.kling.tasks(case.token):
        raise AssertionError("there is a generation already")


def restart_triggerer(case: Case) -> None:
    """SIGKILL the triggerer in which the task waits, and start another one later."""
    _move_to_another_triggerer(case, signal.SIGKILL)
    case.lift()


def restart_triggerer_of_an_endless_wait(case: Case) -> None:
    """The same, for a generation that does not end."""
    _move_to_another_triggerer(case, signal.SIGKILL, silence=LONG_SILENCE)


def run_trigger_twice(case: Case) -> None:
    """Stop the triggerer until another one has taken over, and let both of them see the end and fire."""
    first = _move_to_another_triggerer(case, signal.SIGSTOP)
    case.lift()
    *runners, supervisor = tree(first)
    for runner in runners:
        runner.send_signal(signal.SIGCONT)
    time.sleep(RUNNERS_LEAD)  # else the supervisor might take the trigger away before it has looked
    supervisor.send_signal(signal.SIGCONT)


def _move_to_another_triggerer(
    case: Case, number: signal.Signals, *, silence: float = UNHEARD
) -> subprocess.Popen[bytes]:
    waiter = WAITER[case.row.dag]
    first = case.line.triggerer(f"{case.token}-1", case.token)
    before = case.wait_for_trigger(waiter)
    _wait_until_the_trigger_has_looked(case)
    signal_tree(first, number)
    time.sleep(silence)
    case.line.triggerer(f"{case.token}-2", case.token)
    after = case.wait_for_trigger(waiter, not_by=before["triggerer_id"])
    if after["kwargs"] != before["kwargs"]:
        raise AssertionError("the trigger has other arguments, so another deadline")
    return first


def clear_while_deferred(case: Case) -> None:
    """Clear the waiting task, and let both generations end once it waits again."""
    waiter = _wait_until_it_waits(case)
    before = case.task(waiter)["try_number"]
    case.line.user.clear(case.dag_id, case.runs[0], waiter)

    def waits_again() -> bool:
        task = case.task(waiter)
        return bool(task["try_number"] > before and task["state"] == "deferred")

    case.wait_for("the cleared task to wait again", waits_again)
    if any("No longer waiting" in said for said in case.row.end.says):
        # Airflow tells the old trigger at its leisure; a generation that ends before that would have it fire instead.
        case.wait_for("the old trigger to be told", lambda: "No longer waiting" in case.log())
    case.lift()


def mark_failed_while_deferred(case: Case) -> None:
    """Mark the waiting task as failed."""
    waiter = _wait_until_it_waits(case)
    case.line.user.mark_failed(case.dag_id, case.runs[0], waiter)
    case.lift()


def mark_failed_while_waiting_on_a_worker(case: Case) -> None:
    """Mark the task as failed while its process looks again and again."""
    case.wait_for("the first look", lambda: case.hits().get(case.faults[0]))
    case.line.user.mark_failed(case.dag_id, case.runs[0], "generate")


def clear_after_the_end(case: Case) -> None:
    """Clear the archiving task when it has failed and Kling is well again."""
    case.wait_for_state("archive", "failed")
    case.wait_for("the end of the run", case.ended)
    case.lift()
    case.line.user.clear(case.dag_id, case.runs[0], "archive")
    case.wait_for("the run to go on", lambda: not case.ended())


def archive_twice_at_once(case: Case) -> None:
    """Start a second archiving run, and let both go on only when both hold the same image in their hands."""
    case.start_run()
    case.kling.wait_until_held(case.faults[0], count=2)
    case.lift()


def have_the_core_fail_it(case: Case) -> None:
    """Make Airflow's scheduler fail a deferred task for a "state mismatch" (apache/airflow#67287).

    The scheduler must not hear that the process has ended, in deferral, before it has queued the task for its
    resumption. So it stands still from before the deferral until the trigger has fired, and it is stopped while it
    sleeps between two rounds: the next round queues first, and listens to the executor after that.
    """
    scheduler = case.line.scheduler
    case.kling.wait_until_held(case.faults[0])
    stop_asleep(scheduler.pid)
    try:
        case.lift()
        case.wait_for_state("generate", "scheduled")
    finally:
        scheduler.send_signal(signal.SIGCONT)


def stop_asleep(pid: int) -> None:
    """SIGSTOP a process while it is in ``time.sleep``."""
    asleep = "230 "  # clock_nanosleep on x86-64
    deadline = time.monotonic() + 60
    while True:
        with open(f"/proc/{pid}/syscall") as call:
            if call.read().startswith(asleep):
                break
        if time.monotonic() > deadline:
            raise TimeoutError("the scheduler never sleeps")
    os.kill(pid, signal.SIGSTOP)


def _wait_until_it_waits(case: Case) -> str:
    waiter = WAITER[case.row.dag]
    case.wait_for_state(waiter, "deferred")
    _wait_until_the_trigger_has_looked(case)
    return waiter


def _wait_until_the_trigger_has_looked(case: Case) -> None:
    """It runs, that is to say; the worker has looked once, before it deferred."""
    case.wait_for("the trigger's first look", lambda: case.hits().get(case.faults[0], 0) > 1)
