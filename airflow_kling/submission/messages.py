"""What is said where a submission cannot go on: each sentence tells what it means for the bill, and what to do."""

from __future__ import annotations

from airflow_kling.exceptions import KlingSubmissionError
from airflow_kling.submission.record import Entry


def outcome_unknown(what: str, external_task_id: str, *, retryable: bool = False) -> KlingSubmissionError:
    """A paid generation may exist, and nothing can tell now.

    :param what: the reason, as a sentence.
    :param retryable: a retry of the Airflow task can tell.
    """
    advice = (
        "a retry finds out without paying twice"
        if retryable
        else "look for it in the provider's console; then clear the task with on_unknown='resubmit' to pay for "
        "another, or archive the one found by its Kling task id"
    )
    return KlingSubmissionError(
        f"{what} A paid generation may exist under external_task_id {external_task_id!r}; {advice}.",
        external_task_id=external_task_id,
        retryable=retryable,
    )


def input_changed(entry: Entry) -> KlingSubmissionError:
    """The input is not what an earlier try of this round submitted."""
    made = f"as Kling task {entry.kling_task_id}, will be billed" if entry.kling_task_id else "may exist"
    return KlingSubmissionError(
        f"The input has changed since an earlier try submitted external_task_id {entry.external_task_id!r}; that "
        f"generation, {made}. Nothing was submitted now: clear the task for a new generation, restore the input to "
        "adopt that one, or set on_input_change='new'.",
        external_task_id=entry.external_task_id,
        kling_task_id=entry.kling_task_id,
        retryable=False,
    )


def runs_on_after_clear(entry: Entry) -> str:
    """A user cleared the task, and the generation before that cannot be taken back."""
    return (
        f"The task was cleared: its generation before that (Kling task {entry.kling_task_id or 'unknown'}, "
        f"external_task_id {entry.external_task_id}) cannot be cancelled and is billed if it succeeds; a new one is "
        "submitted since on_clear='new'."
    )
