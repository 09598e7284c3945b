"""Submits once, or adopts: carries out the steps of :mod:`airflow_kling.submission.decision`, and records them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NoReturn

from airflow_kling.api.error_table import task_failure
from airflow_kling.api.retry import nothing_was_created, with_money
from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.api.tasks import FAILED
from airflow_kling.exceptions import KlingBadRequestError, KlingError
from airflow_kling.reporting import metrics
from airflow_kling.submission import messages, recovery
from airflow_kling.submission.decision import Facts, Step, decide
from airflow_kling.submission.identity import Identity
from airflow_kling.submission.proof import is_ours
from airflow_kling.submission.recall import Attempt, Recall
from airflow_kling.submission.record import INTENDED, REFUSED, SUBMITTED, RecordStore, SubmissionRecord
from airflow_kling.submission.refusal import meaning_of

if TYPE_CHECKING:
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.prices import Estimate
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.storage.base import Store

log = logging.getLogger(__name__)


@dataclass
class Submission:
    """One task instance's submission.

    :param identity: None outside of Airflow: then a plain POST with the user's own ``external_task_id``.
    :param fingerprint: of the input as it is now.
    :param old_fingerprint: the same, as it was made for records without a ``kind``.
    :param notes: the record store with what callbacks have told; None where there is no receiver.
    :param route: of the generation.
    :param estimate: what it will be billed; None where that is not known.
    :param too_dear: why a limit does not allow to submit; what exists already is adopted all the same.
    :param refused_attempt: the attempt whose POST was refused earlier in this try, so that it is certain that nothing
        of it exists; :meth:`run` keeps it up to date.
    :param on_unknown: when nothing can decide whether a paid generation exists: ``fail``, or ``resubmit``.
    :param on_clear: after a user's clear: a ``new`` generation, or ``reuse`` the one of the round before.
    :param on_input_change: when the input is not what this round submitted: ``fail``, or a ``new`` generation.
    """

    client: KlingClient
    request: KlingRequest
    identity: Identity | None
    records: RecordStore
    fingerprint: str
    old_fingerprint: str = ""
    notes: Store | None = None
    route: str = DEFAULT_ROUTE
    estimate: Estimate | None = None
    too_dear: str | None = None
    refused_attempt: int | None = None
    on_unknown: Literal["fail", "resubmit"] = "fail"
    on_clear: Literal["new", "reuse"] = "new"
    on_input_change: Literal["fail", "new"] = "fail"
    clock: Callable[[], float] = time.time
    _recall: Recall = field(init=False)
    _attempt: Attempt = field(init=False)
    _found: KlingTask | None = field(default=None, init=False)
    _refusal: KlingError | None = field(default=None, init=False)
    _resubmitted: bool = field(default=False, init=False)

    def run(self) -> KlingTask:
        """Submit once, or adopt; return the task.

        :raises KlingSubmissionError: a paid generation may exist and nothing can tell, what exists is not proven to be
            this task's own, the record cannot be reached, or the input has changed.
        :raises KlingAPIError: the API refused; nothing was created.
        """
        if self.identity is None:
            messages.check_price(self.too_dear, "Nothing was submitted.")
            return self.client.create(self.request, route=self.route)
        facts = self._start(self.identity)
        while True:
            step = decide(facts)
            log.debug("Submission %s: %s", self._external_task_id, step.value)
            if step is Step.ADOPT:
                return self._adopt()
            if step is Step.NEXT_ATTEMPT or (step is Step.STOP and self._starts_another(facts)):
                facts = self._next_attempt(facts)
            elif step is Step.STOP:
                raise self._stopped(facts)
            elif step is Step.REFUSE:
                self._refuse()
            elif step is Step.POST:
                task, facts = self._post(facts)
                if task is not None:
                    return task
            else:
                facts = self._ask(step, facts)

    @property
    def external_task_id(self) -> str | None:
        """The id under which Kling knows the current attempt; the user's own, or none, outside of Airflow."""
        return self._external_task_id if self.identity else self.request.external_task_id

    @property
    def _external_task_id(self) -> str:
        return self._attempt.name.text

    @property
    def _tags(self) -> dict[str, str | None]:
        dag_id = self.identity.dag_id if self.identity else None
        gateway, model = self.client.gateway.name, getattr(self.request, "model_name", None)
        return {"dag_id": dag_id, "gateway": gateway, "model": model, "route": self.route}

    def _start(self, identity: Identity) -> Facts:
        """The facts at the start of this try."""
        self._recall = Recall(
            identity,
            keeps=self.records.keeps,
            route=self.route,
            fingerprints=(self.fingerprint, self.old_fingerprint or self.fingerprint),
            refused_attempt=self.refused_attempt,
            on_clear=self.on_clear,
            on_input_change=self.on_input_change,
        )
        start = self._recall.start(self.records.read(identity))
        self._attempt = start.attempt
        gateway = self.client.gateway
        return Facts(
            finds=gateway.finds_external_ids,
            lists=gateway.has_list,
            receives=self.notes is not None,
            refuses_duplicates=gateway.refuses_duplicates,
            may_exist=start.may_exist,
            given=start.attempt.name.kind == "given",
            kling_task_id=start.kling_task_id,
        )

    def _record(self, state: str, kling_task_id: str | None = None) -> None:
        assert self.identity is not None
        attempt = self._attempt
        record = SubmissionRecord(
            round=attempt.round,
            first_round=attempt.first_round,
            attempt=attempt.number,
            external_task_id=attempt.name.text,
            fingerprint=self.fingerprint,
            state=state,
            since=attempt.since,
            kling_task_id=kling_task_id,
            route=attempt.route,
            kind=attempt.name.kind,
            try_number=self.identity.try_number,
            run=self.identity.run,
        )
        self.records.write(record)

    def _adopt(self) -> KlingTask:
        assert self._found is not None
        task = self._found
        log.info("Adopted Kling task %s, which is %s: nothing was submitted again.", task.kling_task_id, task.status)
        metrics.adopted(self._tags)
        self._record_outcome(SUBMITTED, task.kling_task_id)
        return task

    def _record_outcome(self, state: str, kling_task_id: str | None = None) -> None:
        """Record what a POST has led to. What is known is worth more than its record, whatever ails the store."""
        try:
            self._record(state, kling_task_id)
        except Exception:  # the record says "intended" then, and a later try asks first
            named = f" as Kling task {kling_task_id}" if kling_task_id else ""
            log.exception("%s is not recorded as %s%s; a retry asks the API.", self._external_task_id, state, named)

    def _next_attempt(self, facts: Facts) -> Facts:
        if self._found is not None and facts.ours and self._found.status == FAILED:
            failure = task_failure(self._found)
            if failure.moderated:
                raise failure
            log.info("%s Failed generations are not billed; submitting another.", failure)
        self._attempt, self._found = self._recall.attempt(self._attempt.number + 1), None
        may_exist, given = not self.records.keeps and facts.may_exist, self._attempt.name.kind == "given"
        return facts.of_next_attempt(may_exist=may_exist, given=given)

    def _post(self, facts: Facts) -> tuple[KlingTask | None, Facts]:
        """The paid call, with its intent on record before and its outcome after it."""
        messages.check_price(self.too_dear, messages.not_submitted(facts, self._external_task_id))
        self._attempt = replace(self._attempt, since=self._attempt.since or self.clock())
        self._record(INTENDED)
        log.info("Submitting as external_task_id %s.", self._external_task_id)
        if self.estimate:
            log.info(messages.estimated(self.estimate, gateway_name=self.client.gateway.name))
        try:
            request = self.request.model_copy(update={"external_task_id": self._external_task_id})
            task = self.client.create(request, route=self.route)
        except KlingError as error:
            return None, self._facts_after(error, facts)
        metrics.submitted(self._tags)
        self._record_outcome(SUBMITTED, task.kling_task_id)
        log.info("Kling generates task %s and will bill it.", task.kling_task_id)
        return task, facts

    def _facts_after(self, error: KlingError, facts: Facts) -> Facts:
        """Tell what is known after a POST that gave no task; raise the error where it is certain what it means."""
        self._refusal, named = error, error.kling_task_id
        if isinstance(error, KlingBadRequestError):
            error.money = ""  # "nothing was created" is true of this call alone
            route = find_route(self.route)
            meaning = meaning_of(error, {*route.fields, *route.body_names.values()} - {"external_task_id"})
            if named:  # it speaks of one that exists, whosever it is
                meaning = "duplicate"
            if not facts.may_exist:  # its own: but a proxy on the way may have sent it twice
                return replace(facts, posted=meaning, may_exist=True, queried=frozenset(), kling_task_id=named)
            if meaning != "other":
                return replace(facts, posted="duplicate", queried=frozenset(), kling_task_id=named)
        if not nothing_was_created(error):
            log.warning("%s Asking whether it was made.", error)
            self.refused_attempt = None
            if named:
                self._record_outcome(INTENDED, named)
            return replace(facts, posted="unknown", may_exist=True, queried=frozenset(), kling_task_id=named)
        if not facts.may_exist:
            self._refuse()
        metrics.refused(error, self._tags)
        self.refused_attempt = None
        # The client speaks of its own call alone, which is not the whole bill here.
        error.money = messages.earlier_may_exist(self._external_task_id)
        raise error

    def _refuse(self) -> NoReturn:
        """Kling refused the first POST of the attempt, and it is certain that nothing was created."""
        assert self._refusal is not None
        metrics.refused(self._refusal, self._tags)
        self.refused_attempt = self._attempt.number
        self._record_outcome(REFUSED)
        raise with_money(self._refusal)

    def _ask(self, step: Step, facts: Facts) -> Facts:
        """Take a free step, and tell what is known after it."""
        try:
            self._found = self._query(step, facts)
        except KlingError as error:
            if facts.posted is None:
                error.money = messages.not_submitted(facts, self._external_task_id)
                raise
            # While this try's own POST is in doubt, the refusal of a question must not pass for one of the POST.
            raise messages.could_not_ask(facts, self._external_task_id, error) from error
        facts = replace(facts, queried=facts.queried | {step})
        if self._found is None:
            return facts
        # A record that names the task has had its id from Kling's answer; what exists before a POST is not its work.
        told = self._found.external_task_id
        if step is Step.QUERY and (told or facts.posted is None):
            ours = told in (None, self._external_task_id)
        else:
            ours = facts.may_exist and self._is_ours(self._found, facts)
        return replace(facts, status=self._found.status, ours=ours)

    def _query(self, step: Step, facts: Facts) -> KlingTask | None:
        attempt = self._attempt
        if step is Step.QUERY and facts.kling_task_id:
            return recovery.get(self.client, facts.kling_task_id, route=attempt.route)
        if step is Step.FIND:
            return recovery.find(self.client, attempt.name.text, route=attempt.route)
        if step is Step.CALLBACK and self.notes is not None:
            name, since = attempt.name.text, attempt.since
            task = recovery.noted(self.client, self.notes, name, route=attempt.route, since=since)
            return task if task and self._is_ours(task, facts) else None  # what is not proven is not told
        return recovery.search(self.client, attempt.name.text, route=attempt.route, since=attempt.since)

    def _is_ours(self, task: KlingTask, facts: Facts) -> bool:
        assert self.identity is not None
        refused = facts.posted in ("duplicate", "doubtful", "other")
        name, since = self._attempt.name, self._attempt.since
        return is_ours(task, kind=name.kind, since=since, mapped=self.identity.mapped, refused=refused)

    def _starts_another(self, facts: Facts) -> bool:
        """With ``resubmit``, a stop starts another attempt: one in a try, and none while its own POST is in doubt."""
        if self.on_unknown != "resubmit" or self._resubmitted or facts.posted in ("unknown", "doubtful"):
            return False
        if not facts.may_exist:
            return False
        self._resubmitted = True
        log.warning("Nothing can tell whether %s was generated; submitting another.", self._external_task_id)
        return True

    def _stopped(self, facts: Facts) -> KlingError:
        if facts.status is not None and self._found is not None:
            return messages.not_ours(facts, self._found, self._external_task_id, since=self._attempt.since)
        if facts.posted == "doubtful" and self._refusal is not None:
            metrics.refused(self._refusal, self._tags)
            self._refusal.money = messages.may_be_repeated(self._external_task_id)
            return self._refusal
        return messages.stopped(
            facts, self._external_task_id, refusal=self._refusal, resubmits=self.on_unknown == "resubmit"
        )
