"""Pay once: whether to submit, to adopt what is there, or to stop. A pure decision, and a thin loop around it.

The POST is the only call that costs money. It is sent when it is certain that no generation of this attempt exists, or
where the account refuses a second one with the same ``external_task_id``. Every other step is free.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from airflow_kling.api.error_table import task_failure
from airflow_kling.api.retry import NOTHING_CREATED, nothing_was_created
from airflow_kling.exceptions import KlingBadRequestError, KlingError, KlingSubmissionError
from airflow_kling.reporting import metrics
from airflow_kling.submission import messages, recovery
from airflow_kling.submission.record import INTENDED, REFUSED, SUBMITTED, Entry, Identity, Ledger

if TYPE_CHECKING:
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.tasks import KlingTask

log = logging.getLogger(__name__)


class Step(enum.Enum):
    """What to do next."""

    LOOK = "look at the recorded task"
    FIND = "ask for the external_task_id"
    SEARCH = "search the account's list"
    POST = "submit"
    ADOPT = "take the generation that exists"
    NEXT_ATTEMPT = "the generation failed, start another"
    STOP = "nothing can decide"


@dataclass(frozen=True)
class Facts:
    """All that the decision depends on.

    :param lists: the gateway lists tasks.
    :param refuses_duplicates: the account refuses a second task with the same ``external_task_id``.
    :param may_exist: a POST of this attempt may have gone through.
    :param kling_task_id: the task that the ledger names.
    :param asked: what the API was asked since the last POST.
    :param status: of the generation that was found, None for none.
    :param posted: a POST of this try was refused as a ``duplicate``, or its outcome is ``unknown``.
    """

    lists: bool
    refuses_duplicates: bool
    may_exist: bool
    kling_task_id: str | None = None
    asked: frozenset[Step] = frozenset()
    status: str | None = None
    posted: Literal["duplicate", "unknown"] | None = None


def decide(facts: Facts) -> Step:
    """The next step."""
    if facts.status is not None:
        return Step.NEXT_ATTEMPT if facts.status == "failed" else Step.ADOPT
    if facts.kling_task_id is not None:
        return Step.STOP if Step.LOOK in facts.asked else Step.LOOK
    if not facts.may_exist:
        return Step.POST
    if Step.FIND not in facts.asked:
        return Step.FIND
    if facts.lists and Step.SEARCH not in facts.asked:
        return Step.SEARCH
    if facts.refuses_duplicates and facts.posted is None:
        return Step.POST
    return Step.STOP


@dataclass
class Submission:
    """One task instance's submission.

    :param identity: None outside of Airflow: then a plain POST with the user's own ``external_task_id``.
    :param fingerprint: of what is asked now.
    :param refused_attempt: the attempt whose POST was refused earlier in this try, so that it is certain that nothing
        of it exists; :meth:`run` keeps it up to date.
    :param on_unknown: when nothing can decide whether a paid generation exists: ``fail``, or ``resubmit``.
    :param on_clear: after a user's clear: a ``new`` generation, or ``reuse`` the one of the round before.
    :param on_input_change: when the input is not what this round submitted: ``fail``, or a ``new`` generation.
    """

    client: KlingClient
    request: KlingRequest
    identity: Identity | None
    ledger: Ledger
    fingerprint: str
    refused_attempt: int | None = None
    on_unknown: Literal["fail", "resubmit"] = "fail"
    on_clear: Literal["new", "reuse"] = "new"
    on_input_change: Literal["fail", "new"] = "fail"
    clock: Callable[[], float] = time.time
    attempt: int = field(default=1, init=False)
    _since: float = field(default=0.0, init=False)
    _seen: KlingTask | None = field(default=None, init=False)
    _refusal: KlingError | None = field(default=None, init=False)

    def run(self) -> KlingTask:
        """Submit once, or adopt; return the task.

        :raises KlingSubmissionError: a paid generation may exist and nothing can tell, or the input has changed.
        :raises KlingAPIError: the API refused; nothing was created.
        """
        if self.identity is None:
            return self.client.create(self.request)
        facts = self._recall(self.identity)
        while True:
            step = decide(facts)
            log.debug("Submission %s: %s", self._external_task_id, step.value)
            if step is Step.ADOPT:
                return self._adopt()
            if step is Step.NEXT_ATTEMPT or (step is Step.STOP and self._starts_another(facts)):
                facts = self._next_attempt(facts)
            elif step is Step.STOP:
                raise self._dead_end(facts)
            elif step is Step.POST:
                task, facts = self._post(facts)
                if task is not None:
                    return task
            else:
                self._seen = self._ask(step, facts)
                status = self._seen.status if self._seen else None
                facts = replace(facts, asked=facts.asked | {step}, status=status)

    @property
    def external_task_id(self) -> str | None:
        """The id under which Kling knows the current attempt; the user's own, or none, outside of Airflow."""
        return self._external_task_id if self.identity else self.request.external_task_id

    @property
    def _external_task_id(self) -> str:
        assert self.identity is not None
        return self.identity.external_task_id(self.attempt)

    @property
    def _tags(self) -> dict[str, str | None]:
        dag_id = self.identity.dag_id if self.identity else None
        return {
            "dag_id": dag_id,
            "gateway": self.client.gateway.name,
            "model": getattr(self.request, "model_name", None),
        }

    def _recall(self, identity: Identity) -> Facts:
        """The facts at the start of this try."""
        gateway = self.client.gateway
        facts = Facts(
            lists=gateway.has_list,
            refuses_duplicates=gateway.refuses_duplicates,
            may_exist=not self.ledger.remembers and not identity.first_try and self.refused_attempt is None,
        )
        self.attempt = self.refused_attempt or 1
        entry = self.ledger.read()
        if entry is None:
            if self.on_clear == "reuse" and not self.ledger.remembers and not identity.first_round:
                raise self._unknown("on_clear='reuse' needs Airflow 3.3 or newer, where a clear leaves a record.")
            return facts
        if entry.round != identity.round and self.on_clear == "new":
            if entry.state != REFUSED:
                log.warning("%s", messages.runs_on_after_clear(entry))
            return facts
        self.identity = replace(identity, round=entry.round, first_round=entry.first_round)
        self.attempt, self._since = entry.attempt, entry.since
        if entry.state != REFUSED and entry.fingerprint != self.fingerprint:
            if self.on_input_change == "fail":
                raise messages.input_changed(entry)
            return self._next_attempt(facts)
        return replace(facts, may_exist=entry.state != REFUSED, kling_task_id=entry.kling_task_id)

    def _note(self, state: str, kling_task_id: str | None = None) -> None:
        assert self.identity is not None
        entry = Entry(
            round=self.identity.round,
            first_round=self.identity.first_round,
            attempt=self.attempt,
            external_task_id=self._external_task_id,
            fingerprint=self.fingerprint,
            state=state,
            since=self._since,
            kling_task_id=kling_task_id,
        )
        self.ledger.write(entry)

    def _adopt(self) -> KlingTask:
        assert self._seen is not None
        task = self._seen
        log.info("Adopted Kling task %s, which is %s: nothing was submitted again.", task.kling_task_id, task.status)
        metrics.adopted(self._tags)
        self._note_submitted(task)
        return task

    def _note_submitted(self, task: KlingTask) -> None:
        try:
            self._note(SUBMITTED, task.kling_task_id)
        except Exception:  # whatever ails the store, the id in hand is worth more than its record
            log.exception("Kling task %s is not recorded; a retry will ask the API for it.", task.kling_task_id)

    def _next_attempt(self, facts: Facts) -> Facts:
        if self._seen is not None and self._seen.status == "failed":
            failure = task_failure(self._seen)
            if failure.moderated:
                raise failure
            log.info("%s Failed generations are not billed; submitting another.", failure)
        self.attempt, self._since, self._seen = self.attempt + 1, 0.0, None
        return replace(
            facts,
            may_exist=not self.ledger.remembers and facts.may_exist,
            kling_task_id=None,
            asked=frozenset(),
            status=None,
            posted=None,
        )

    def _post(self, facts: Facts) -> tuple[KlingTask | None, Facts]:
        """The paid call, with its intent on record before and its outcome after it."""
        self._since = self._since or self.clock()
        self._note(INTENDED)
        try:
            task = self.client.create(self.request.model_copy(update={"external_task_id": self._external_task_id}))
        except KlingBadRequestError as error:
            if not facts.may_exist:
                metrics.refused(error, self._tags)
                self._note(REFUSED)
                raise
            self._refusal = error
            return None, replace(facts, posted="duplicate", asked=frozenset())
        except KlingError as error:
            if nothing_was_created(error):
                metrics.refused(error, self._tags)
                self._refused(facts)
                raise self._with_earlier(error, facts) from None
            log.warning("%s Asking whether it was made.", error)
            self.refused_attempt = None
            return None, replace(facts, posted="unknown", may_exist=True, asked=frozenset())
        metrics.submitted(self._tags)
        self._note_submitted(task)
        log.info(
            "Kling generates %d image(s) as task %s and will bill them.",
            getattr(self.request, "n", 1),
            task.kling_task_id,
        )
        return task, facts

    def _with_earlier(self, error: KlingError, facts: Facts) -> KlingError:
        """What the client says of its own call is not the whole bill where an earlier one may have gone through."""
        if facts.may_exist:
            earlier = (
                "This try created nothing, but an earlier one may have: a paid generation may exist under "
                f"external_task_id {self._external_task_id!r}."
            )
            error.args = (str(error).replace(NOTHING_CREATED, earlier),)
        return error

    def _refused(self, facts: Facts) -> None:
        """A refusal says that this POST created nothing; it says nothing of an earlier one."""
        self.refused_attempt = None if facts.may_exist else self.attempt
        if not facts.may_exist:
            self._note(REFUSED)

    def _ask(self, step: Step, facts: Facts) -> KlingTask | None:
        """A free question. While this try's own POST is in doubt, its refusal must not pass for one of the POST."""
        try:
            if step is Step.LOOK and facts.kling_task_id:
                return recovery.get(self.client, facts.kling_task_id)
            if step is Step.FIND:
                return recovery.find(self.client, self._external_task_id)
            return recovery.search(self.client, self._external_task_id, since=self._since)
        except KlingError as error:
            if facts.posted != "unknown":
                raise
            what = f"Kling did not say whether it took the submission, and could not be asked: {error}"
            raise self._unknown(what, retryable=True) from error

    def _starts_another(self, facts: Facts) -> bool:
        """With ``resubmit``, a dead end starts another attempt, but not in the try whose own POST is in doubt."""
        if self.on_unknown != "resubmit" or facts.posted == "unknown":
            return False
        log.warning("Nothing can tell whether %s was generated; submitting another.", self._external_task_id)
        return True

    def _dead_end(self, facts: Facts) -> KlingSubmissionError:
        if facts.kling_task_id is not None:
            return self._unknown(
                f"Kling task {facts.kling_task_id} was submitted, but Kling no longer knows it (deleted after 30 days, "
                "or another account's)."
            )
        if facts.posted == "unknown":
            can_ask = facts.lists or self.client.gateway.finds_external_ids
            can_decide_later = can_ask or facts.refuses_duplicates or self.on_unknown == "resubmit"
            return self._unknown("Kling did not say whether it took the submission.", retryable=can_decide_later)
        if facts.posted == "duplicate":
            return self._unknown(f"An earlier try submitted, and Kling refuses to take it twice: {self._refusal}")
        return self._unknown("An earlier try submitted, and this gateway cannot be asked for the outcome.")

    def _unknown(self, what: str, *, retryable: bool = False) -> KlingSubmissionError:
        return messages.outcome_unknown(what, self._external_task_id, retryable=retryable)
