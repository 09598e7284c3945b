"""Decides where a try starts: with a new attempt, or with the one that the submission record tells of."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from airflow_kling.submission import messages
from airflow_kling.submission.identity import ExternalId, Identity
from airflow_kling.submission.record import REFUSED, SubmissionRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One generation that a task instance asks for.

    :param number: from 1 in each round.
    :param name: under which Kling knows it.
    :param since: epoch seconds just before its first POST, or the run's start where the identity is derived from that;
        0 for neither.
    :param route: of the generation.
    """

    round: int
    first_round: bool
    number: int
    name: ExternalId
    since: float
    route: str


@dataclass(frozen=True)
class Start:
    """What is known at the start of a try.

    :param may_exist: a POST of the attempt may have gone through.
    :param kling_task_id: the generation that the record names.
    """

    attempt: Attempt
    may_exist: bool
    kling_task_id: str | None = None


@dataclass(frozen=True)
class Recall:
    """What the decision depends on beside the record.

    :param keeps: a record is kept, and is the latest; without that one of an earlier try may be found all the same.
    :param route: of the generation that is asked for now.
    :param fingerprints: of the input as it is now: as a record has it, and as records without a ``kind`` had it.
    :param refused_attempt: its POST was refused earlier in this try.
    """

    identity: Identity
    keeps: bool
    route: str
    fingerprints: tuple[str, str]
    refused_attempt: int | None = None
    on_clear: Literal["new", "reuse"] = "new"
    on_input_change: Literal["fail", "new"] = "fail"

    def attempt(self, number: int) -> Attempt:
        """Make an attempt of this round."""
        one = self.identity
        name = one.draw(number) if self.keeps else one.derive(number)
        # An author's text may have been another's just before this run: then only this try's own POST counts.
        since = one.run.start if name.kind == "derived" else 0.0
        return Attempt(one.round, one.first_round, number, name, since, self.route)

    def start(self, record: SubmissionRecord | None) -> Start:
        """Decide.

        :raises KlingSubmissionError: the input has changed, or what ``reuse`` needs is gone.
        """
        if record is None:
            if self.on_clear == "reuse" and self.identity.cleared:
                raise messages.nothing_to_reuse(self.attempt(1).name.text, keeps=self.keeps)
            return Start(self.attempt(self.refused_attempt or 1), may_exist=self._unknown)
        if record.round != self.identity.round and self.on_clear == "new":
            if record.state != REFUSED:
                log.warning("%s", messages.runs_on_after_clear(record))
            return Start(self.attempt(1), may_exist=self._unknown)
        if record.fingerprint in self._expected(record):
            return Start(_recorded(record), record.state != REFUSED or self._unknown, record.kling_task_id)
        if record.state != REFUSED and self.on_input_change == "fail":
            raise messages.input_changed(record)
        # Not under the old identity: were its refusal wrong, a generation of the old input would pass for this one.
        return Start(self.attempt(record.attempt + 1), may_exist=self._unknown)

    @property
    def _unknown(self) -> bool:
        """Whether an earlier try may have submitted without a record that this one sees."""
        return not self.keeps and not self.identity.first_try and self.refused_attempt is None

    def _expected(self, record: SubmissionRecord) -> Collection[str]:
        return self.fingerprints if record.kind is None else self.fingerprints[:1]


def _recorded(record: SubmissionRecord) -> Attempt:
    name = ExternalId(record.external_task_id, record.kind or "derived")
    return Attempt(record.round, record.first_round, record.attempt, name, record.since, record.route)
