"""Says what a submission will cost, and why one cannot go on: what that means for the bill, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_kling.api.price_list import LIST_DATE
from airflow_kling.exceptions import KlingError, KlingInputError, KlingSubmissionError

if TYPE_CHECKING:
    from airflow_kling.api.prices import Estimate
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.submission.decision import Facts
    from airflow_kling.submission.record import SubmissionRecord


def stopped(
    facts: Facts, external_task_id: str, *, refusal: KlingError | None, resubmits: bool
) -> KlingSubmissionError:
    """Nothing can decide whether a generation exists, see :func:`airflow_kling.submission.decision.decide`.

    :param refusal: the error that a POST of this try ended with.
    :param resubmits: a later try submits another generation.
    """
    if facts.kling_task_id is not None and facts.posted is None:
        return outcome_unknown(
            f"Kling task {facts.kling_task_id} was submitted, but Kling no longer knows it (deleted after 30 days, "
            "or another account's).",
            external_task_id,
        )
    if facts.posted == "unknown":
        can_decide_later = facts.can_be_asked or facts.refuses_duplicates or facts.receives or resubmits
        named = f" Its answer named Kling task {facts.kling_task_id}." if facts.kling_task_id else ""
        said = f": {refusal.args[0]}" if refusal is not None else "."
        return outcome_unknown(
            f"Kling did not say whether it took the submission{said}{named}",
            external_task_id,
            retryable=can_decide_later,
        )
    if facts.posted == "duplicate":
        whose = "another task's, another run's or another Airflow's, or " if facts.given else ""
        return outcome_unknown(
            f"Kling knows this external_task_id already, from {whose}an earlier try or a proxy that sent this POST "
            f"twice, and refuses to take it again: {refusal}",
            external_task_id,
            callback=facts.receives,
        )
    return outcome_unknown(
        "An earlier try submitted, and this gateway cannot be asked for the outcome.",
        external_task_id,
        callback=facts.receives,
    )


def estimated(estimate: Estimate, *, gateway_name: str) -> str:
    """Return the line of the log before a submission."""
    source = f"by Kling's list price of {LIST_DATE}" if estimate.listed else "by the connection's prices"
    own = "" if gateway_name == "official" or not estimate.listed else "; CometAPI has its own prices"
    return f"Estimated: {estimate}, {source}{own}."


def check_price(too_dear: str | None, money: str) -> None:
    """Refuse a submission that a limit does not allow, see :mod:`airflow_kling.api.max_units`.

    :param too_dear: why not; None where it is allowed.
    :param money: what it means for the bill that this try ends before it has submitted.
    :raises KlingInputError: it is not allowed.
    """
    if too_dear is not None:
        error = KlingInputError(f"{too_dear}.")
        error.money = money
        raise error


def not_submitted(facts: Facts, external_task_id: str) -> str:
    """What it means for the bill that a try ends before it has submitted."""
    return earlier_may_exist(external_task_id) if facts.may_exist else "Nothing was submitted."


def could_not_ask(facts: Facts, external_task_id: str, error: KlingError) -> KlingSubmissionError:
    """A free question was not answered, after a POST of this try.

    :param error: why not.
    """
    said = "did not say whether it took the submission" if facts.posted == "unknown" else "refused the submission"
    return outcome_unknown(f"Kling {said}, and could not be asked: {error}", external_task_id, retryable=True)


def not_ours(facts: Facts, task: KlingTask, external_task_id: str, *, since: float) -> KlingSubmissionError:
    """A generation has our ``external_task_id``, and nothing proves that it is this task's own.

    :param since: epoch seconds before which this task submitted nothing; 0 when that is not known.
    """
    created = (
        f"created {task.created_at.isoformat()}" if task.created_at else "created at a time that Kling does not say"
    )
    ours = f"submitted nothing before {datetime.fromtimestamp(since, UTC).isoformat()}" if since else "has no proof"
    if not facts.may_exist:
        money = "Nothing was submitted now, and nothing was paid for by this task."
    elif facts.posted in ("duplicate", "doubtful", "other"):
        money = (
            "Kling refused this task's own submission, so nothing was paid for by this task unless that one is its own."
        )
    else:
        money = (
            "A paid generation of this task may exist only if that one is its own, or the account takes an id twice."
        )
    return KlingSubmissionError(
        f"external_task_id {external_task_id!r} is that of Kling task {task.kling_task_id}, {created}, and this task "
        f"{ours}: it may be another run's, another task's or another Airflow's, so it was not adopted. {money} Look at "
        "it in the provider's console: archive it by its Kling task id if it is this task's; otherwise leave "
        "external_task_id out, or give one that is unique in the account, and clear the task.",
        external_task_id=external_task_id,
        kling_task_id=task.kling_task_id,
        retryable=False,
    )


def may_be_repeated(external_task_id: str) -> str:
    """What a refusal means for the bill where a proxy may have sent the POST twice and the gateway cannot be asked."""
    return (
        "Nothing was created by this POST; but if a proxy on the way has sent it twice, the first of the two may have "
        f"created one: a paid generation may exist under external_task_id {external_task_id!r}."
    )


def nothing_to_reuse(external_task_id: str, *, keeps: bool) -> KlingSubmissionError:
    """A user cleared the task with ``on_clear="reuse"``, and no record tells of a generation before that.

    :param keeps: there is a place for records.
    """
    if keeps:
        what = (
            "on_clear='reuse' finds no submission record of before the clear: none was written, or it was deleted "
            "([state_store] clear_on_success, a clean-up, a lifecycle rule of the bucket)."
        )
    else:
        what = (
            "on_clear='reuse' needs a submission record: Airflow 3.3 or newer, or record_store in the connection's "
            "extra."
        )
    return KlingSubmissionError(
        f"{what} Nothing was submitted now; what was generated before is paid for. Archive it by its Kling task id, "
        "which the log and the XCom of the try before name, or clear the task with on_clear='new' to pay for another.",
        external_task_id=external_task_id,
        retryable=False,
    )


def outcome_unknown(
    what: str, external_task_id: str, *, retryable: bool = False, callback: bool = False
) -> KlingSubmissionError:
    """A paid generation may exist, and nothing can tell now.

    :param what: the reason, as a sentence.
    :param retryable: a retry of the Airflow task can tell.
    :param callback: a retry can tell once a callback has come.
    """
    advice = (
        "a retry finds out without paying twice"
        if retryable
        else "look for it in the provider's console; then clear the task with on_unknown='resubmit' to pay for "
        "another, or archive the one found by its Kling task id"
    )
    if callback:
        advice = f"a retry finds it once its callback has come; if none comes, {advice}"
    return KlingSubmissionError(
        f"{what} A paid generation may exist under external_task_id {external_task_id!r}; {advice}.",
        external_task_id=external_task_id,
        retryable=retryable or callback,
    )


def earlier_may_exist(external_task_id: str) -> str:
    """What a refusal means for the bill where an earlier try's POST may have gone through."""
    return (
        "This try created nothing, but an earlier one may have: a paid generation may exist under "
        f"external_task_id {external_task_id!r}."
    )


def earlier_submission(kling_task_id: str) -> str:
    """What it means for the bill that a retry cannot even make its request."""
    return (
        f"Kling task {kling_task_id}, which an earlier try submitted, is billed if it succeeds: archive it by that id, "
        "or restore the input for a retry, or a clear with on_clear='reuse', to adopt it."
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
