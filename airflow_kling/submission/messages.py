"""Says why a submission cannot go on: each message tells what it means for the bill, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError, KlingSubmissionError

if TYPE_CHECKING:
    from airflow_kling.submission.decision import Facts
    from airflow_kling.submission.record import SubmissionRecord


def stopped(
    facts: Facts, external_task_id: str, *, refusal: KlingError | None, can_be_found: bool, resubmits: bool
) -> KlingSubmissionError:
    """Nothing can decide whether a generation exists, see :func:`airflow_kling.submission.decision.decide`.

    :param refusal: Kling's answer to a POST that it refused as a duplicate.
    :param can_be_found: a later try can find a generation by its ``external_task_id``.
    :param resubmits: a later try submits another generation.
    """
    if facts.kling_task_id is not None:
        return outcome_unknown(
            f"Kling task {facts.kling_task_id} was submitted, but Kling no longer knows it (deleted after 30 days, "
            "or another account's).",
            external_task_id,
        )
    if facts.posted == "unknown":
        can_decide_later = can_be_found or facts.refuses_duplicates or resubmits
        return outcome_unknown(
            "Kling did not say whether it took the submission.", external_task_id, retryable=can_decide_later
        )
    if facts.posted == "duplicate":
        return outcome_unknown(
            f"An earlier try submitted, and Kling refuses to take it twice: {refusal}", external_task_id
        )
    return outcome_unknown(
        "An earlier try submitted, and this gateway cannot be asked for the outcome.", external_task_id
    )


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


def earlier_may_exist(external_task_id: str) -> str:
    """What a refusal means for the bill where an earlier try's POST may have gone through."""
    return (
        "This try created nothing, but an earlier one may have: a paid generation may exist under "
        f"external_task_id {external_task_id!r}."
    )


def input_changed(record: SubmissionRecord) -> KlingSubmissionError:
    """The input is not what an earlier try of this round submitted."""
    made = f"as Kling task {record.kling_task_id}, will be billed" if record.kling_task_id else "may exist"
    return KlingSubmissionError(
        f"The input has changed since an earlier try submitted external_task_id {record.external_task_id!r}; that "
        f"generation, {made}. Nothing was submitted now: clear the task for a new generation, restore the input to "
        "adopt that one, or set on_input_change='new'.",
        external_task_id=record.external_task_id,
        kling_task_id=record.kling_task_id,
        retryable=False,
    )


def runs_on_after_clear(record: SubmissionRecord) -> str:
    """A user cleared the task, and the generation before that cannot be taken back."""
    return (
        f"The task was cleared: its generation before that (Kling task {record.kling_task_id or 'unknown'}, "
        f"external_task_id {record.external_task_id}) cannot be cancelled and is billed if it succeeds; a new one is "
        "submitted since on_clear='new'."
    )
