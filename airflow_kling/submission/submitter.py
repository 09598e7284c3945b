"""Submits once, or adopts: carries out the steps of :mod:`airflow_kling.submission.decision`, and records them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from airflow_kling.api.error_table import task_failure
from airflow_kling.api.retry import nothing_was_created
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import FAILED
from airflow_kling.exceptions import KlingBadRequestError, KlingError, KlingSubmissionError
from airflow_kling.reporting import metrics
from airflow_kling.submission import messages, recovery
from airflow_kling.submission.decision import Facts, Step, decide
from airflow_kling.submission.identity import Identity
from airflow_kling.submission.record import INTENDED, REFUSED, SUBMITTED, RecordStore, SubmissionRecord

if TYPE_CHECKING:
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.tasks import KlingTask

log = logging.getLogger(__name__)


@dataclass
class Submission:
    """One task instance's submission.

    :param identity: None outside of Airflow: then a plain POST with the user's own ``external_task_id``.
    :param fingerprint: of the input as it is now.
    :param route: of the generation.
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
    route: str = DEFAULT_ROUTE
    refused_attempt: int | None = None
    on_unknown: Literal["fail", "resubmit"] = "fail"
    on_clear: Literal["new", "reuse"] = "new"
    on_input_change: Literal["fail", "new"] = "fail"
    clock: Callable[[], float] = time.time
    attempt: int = field(default=1, init=False)
    _since: float = field(default=0.0, init=False)
    _found: KlingTask | None = field(default=None, init=False)
    _refusal: KlingError | None = field(default=None, init=False)

    def run(self) -> KlingTask:
        """Submit once, or adopt; return the task.

        :raises KlingSubmissionError: a paid generation may exist and nothing can tell, or the input has changed.
        :raises KlingAPIError: the API refused; nothing was created.
        """
        if self.identity is None:
            return self.client.create(self.request, route=self.route)
        facts = self._recall(self.identity)
        while True:
            step = decide(facts)
            log.debug("Submission %s: %s", self._external_task_id, step.value)
            if step is Step.ADOPT:
                return self._adopt()
            if step is Step.NEXT_ATTEMPT or (step is Step.STOP and self._starts_another(facts)):
                facts = self._next_attempt(facts)
            elif step is Step.STOP:
                raise self._stopped(facts)
            elif step is Step.POST:
                task, facts = self._post(facts)
                if task is not None:
                    return task
            else:
                self._found = self._query(step, facts)
                status = self._found.status if self._found else None
                facts = replace(facts, queried=facts.queried | {step}, status=status)

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
        gateway, model = self.client.gateway.name, getattr(self.request, "model_name", None)
        return {"dag_id": dag_id, "gateway": gateway, "model": model, "route": self.route}

    def _recall(self, identity: Identity) -> Facts:
        """The facts at the start of this try."""
        gateway = self.client.gateway
        facts = Facts(
            lists=gateway.has_list,
            refuses_duplicates=gateway.refuses_duplicates,
            may_exist=not self.records.keeps and not identity.first_try and self.refused_attempt is None,
        )
        self.attempt = self.refused_attempt or 1
        record = self.records.read()
        if record is None:
            if self.on_clear == "reuse" and not self.records.keeps and not identity.first_round:
                what = "on_clear='reuse' needs Airflow 3.3 or newer, where a clear leaves a record."
                raise messages.outcome_unknown(what, self._external_task_id)
            return facts
        if record.round != identity.round and self.on_clear == "new":
            if record.state != REFUSED:
                log.warning("%s", messages.runs_on_after_clear(record))
            return facts
        self.identity = replace(identity, round=record.round, first_round=record.first_round)
        self.attempt, self._since = record.attempt, record.since
        if record.state != REFUSED and record.fingerprint != self.fingerprint:
            if self.on_input_change == "fail":
                raise messages.input_changed(record)
            return self._next_attempt(facts)
        return replace(facts, may_exist=record.state != REFUSED, kling_task_id=record.kling_task_id)

    def _record(self, state: str, kling_task_id: str | None = None) -> None:
        assert self.identity is not None
        record = SubmissionRecord(
            round=self.identity.round,
            first_round=self.identity.first_round,
            attempt=self.attempt,
            external_task_id=self._external_task_id,
            fingerprint=self.fingerprint,
            state=state,
            since=self._since,
            kling_task_id=kling_task_id,
            route=self.route,
        )
        self.records.write(record)

    def _adopt(self) -> KlingTask:
        assert self._found is not None
        task = self._found
        log.info("Adopted Kling task %s, which is %s: nothing was submitted again.", task.kling_task_id, task.status)
        metrics.adopted(self._tags)
        self._record_submitted(task)
        return task

    def _record_submitted(self, task: KlingTask) -> None:
        try:
            self._record(SUBMITTED, task.kling_task_id)
        except Exception:  # whatever ails the store, the id in hand is worth more than its record
            log.exception("Kling task %s is not recorded; a retry will ask the API for it.", task.kling_task_id)

    def _next_attempt(self, facts: Facts) -> Facts:
        if self._found is not None and self._found.status == FAILED:
            failure = task_failure(self._found)
            if failure.moderated:
                raise failure
            log.info("%s Failed generations are not billed; submitting another.", failure)
        self.attempt, self._since, self._found = self.attempt + 1, 0.0, None
        return replace(
            facts,
            may_exist=not self.records.keeps and facts.may_exist,
            kling_task_id=None,
            queried=frozenset(),
            status=None,
            posted=None,
        )

    def _post(self, facts: Facts) -> tuple[KlingTask | None, Facts]:
        """The paid call, with its intent on record before and its outcome after it."""
        self._since = self._since or self.clock()
        self._record(INTENDED)
        try:
            request = self.request.model_copy(update={"external_task_id": self._external_task_id})
            task = self.client.create(request, route=self.route)
        except KlingBadRequestError as error:
            if not facts.may_exist:
                metrics.refused(error, self._tags)
                self._record(REFUSED)
                raise
            error.money = ""  # "nothing was created" is true of this call alone
            self._refusal = error
            return None, replace(facts, posted="duplicate", queried=frozenset())
        except KlingError as error:
            if nothing_was_created(error):
                metrics.refused(error, self._tags)
                self._refused(facts)
                if facts.may_exist:  # the client speaks of its own call alone, which is not the whole bill then
                    error.money = messages.earlier_may_exist(self._external_task_id)
                raise
            log.warning("%s Asking whether it was made.", error)
            self.refused_attempt = None
            return None, replace(facts, posted="unknown", may_exist=True, queried=frozenset())
        metrics.submitted(self._tags)
        self._record_submitted(task)
        count = getattr(self.request, "n", 1)
        log.info("Kling generates %d image(s) as task %s and will bill them.", count, task.kling_task_id)
        return task, facts

    def _refused(self, facts: Facts) -> None:
        """A refusal says that this POST created nothing; it says nothing of an earlier one."""
        self.refused_attempt = None if facts.may_exist else self.attempt
        if not facts.may_exist:
            self._record(REFUSED)

    def _query(self, step: Step, facts: Facts) -> KlingTask | None:
        """Take a free step. While this try's own POST is in doubt, its refusal must not pass for one of the POST."""
        try:
            if step is Step.QUERY and facts.kling_task_id:
                return recovery.get(self.client, facts.kling_task_id, route=self.route)
            if step is Step.FIND:
                return recovery.find(self.client, self._external_task_id, route=self.route)
            return recovery.search(self.client, self._external_task_id, route=self.route, since=self._since)
        except KlingError as error:
            if facts.posted != "unknown":
                raise
            what = f"Kling did not say whether it took the submission, and could not be asked: {error}"
            raise messages.outcome_unknown(what, self._external_task_id, retryable=True) from error

    def _starts_another(self, facts: Facts) -> bool:
        """With ``resubmit``, a stop starts another attempt, but not in the try whose own POST is in doubt."""
        if self.on_unknown != "resubmit" or facts.posted == "unknown":
            return False
        log.warning("Nothing can tell whether %s was generated; submitting another.", self._external_task_id)
        return True

    def _stopped(self, facts: Facts) -> KlingSubmissionError:
        return messages.stopped(
            facts,
            self._external_task_id,
            refusal=self._refusal,
            can_be_found=facts.lists or self.client.gateway.finds_external_ids,
            resubmits=self.on_unknown == "resubmit",
        )
