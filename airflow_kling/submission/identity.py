"""Makes the identity of a submission that Kling sees, and the fingerprint of its input.

The identity is the ``external_task_id``. A *round* is the work between two clears by a user: Airflow leaves
``ti.max_tries`` alone on automatic retries, also where somebody edits ``retries``, and raises it on a clear, so it
numbers the rounds. An *attempt* is one generation; the next one starts only when the one before is known to have failed
at Kling.

Where a submission record is kept the identity is random, and the record says it to every later try. Where none is, it
is derived from what all tries of a round share and no other Airflow and no other run does. Format of both:
``airflow-<32 hex digits>-<round>-<attempt>``, letters, digits and ``-`` only. With an ``external_task_id`` of the
author's own the first attempt of the first round has just that, and every other one begins with it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_kling.api.redact import unsigned_query
from airflow_kling.api.routes import DEFAULT_ROUTE

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.route import Route

#: What an identity proves: ``nonce`` is random, so nobody else has it; ``derived`` has the run's start in it; ``given``
#: is the author's text, which others may have given too.
Kind = Literal["nonce", "derived", "given"]


#: What a request record has beside the input: an estimate changes with the prices.
_NOT_INPUT = frozenset({"external_task_id", "estimated_units"})


class ExternalId(NamedTuple):
    """An ``external_task_id``, and what it proves."""

    text: str
    kind: Kind


@dataclass(frozen=True)
class Run:
    """What tells a DAG run from another one of the same id, in this Airflow or in another; times in ISO 8601, UTC.

    :param started: a clear of a finished run moves it, and so does a run that is made again.
    :param clear_number: begins with 0 when a run is made. Airflow 2.11 counts only clears of finished runs.
    :param row: the id of its database row, where a worker sees it: on Airflow 2.
    :param due: ``run_after``, or on Airflow 2 the logical date; a manual run that is made again has another.
    """

    started: str | None = None
    clear_number: int | None = None
    row: int | None = None
    due: str | None = None

    @classmethod
    def of(cls, dag_run: Any) -> Run:
        """Read it from ``context["dag_run"]``; what is not there is None."""
        row = getattr(dag_run, "id", None)
        return cls(
            started=_iso(getattr(dag_run, "start_date", None)),
            clear_number=getattr(dag_run, "clear_number", None),
            row=row if isinstance(row, int) else None,
            due=_iso(getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None)),
        )

    @property
    def start(self) -> float:
        """When it started, in epoch seconds; 0 where that is not known."""
        return datetime.fromisoformat(self.started).timestamp() if self.started else 0.0


def _iso(moment: Any) -> str | None:
    return moment.astimezone(UTC).isoformat() if isinstance(moment, datetime) else None


@dataclass(frozen=True)
class Identity:
    """A try of one task instance.

    :param round: ``ti.max_tries``.
    :param first_round: no user has cleared the task yet.
    :param first_try: nothing has run before this try.
    :param base: the author's own ``external_task_id``, as it renders now.
    :param cleared: a user may have cleared the task.
    :param deployment: tells this Airflow from others that share the Kling account.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    round: int
    first_round: bool
    first_try: bool
    base: str | None = None
    cleared: bool = False
    try_number: int = 1
    deployment: str = ""
    run: Run = field(default_factory=Run)

    @classmethod
    def of(cls, context: Context, *, retries: int, base: str | None, deployment: str = "") -> Identity | None:
        """The identity of the running task instance; None outside of Airflow, where there are no retries."""
        ti: Any = context.get("ti")
        if ti is None:
            return None
        run = Run.of(context.get("dag_run"))
        first_try = ti.try_number <= 1
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            round=ti.max_tries,
            # Lowered retries look like a clear, but then no clear was counted.
            first_round=ti.max_tries <= retries or run.clear_number == 0,
            first_try=first_try,
            base=base,
            cleared=not first_try and (ti.max_tries > retries or bool(run.clear_number)),
            try_number=ti.try_number,
            deployment=deployment,
            run=run,
        )

    @property
    def mapped(self) -> bool:
        """Whether other task instances of the run share the author's ``external_task_id``."""
        return self.map_index >= 0

    @property
    def key(self) -> str:
        """A name for the task instance, 40 hex digits, the same for all its tries and rounds."""
        instance = [self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index, self.run.due]
        return _digits(instance, 40)

    def draw(self, attempt: int) -> ExternalId:
        """Make an identity of which a record will tell later tries: random, unless the author gave the text."""
        if not self.base:
            return ExternalId(f"airflow-{secrets.token_hex(16)}-{self.round}-{attempt}", "nonce")
        if self.first_round and attempt == 1:
            return ExternalId(self.base, "given")
        return ExternalId(f"{self.base}-{self.round}-{attempt}-{secrets.token_hex(8)}", "nonce")

    def derive(self, attempt: int) -> ExternalId:
        """Make an identity that every try of the round finds again without a record."""
        if self.base:
            first = self.first_round and attempt == 1
            return ExternalId(self.base if first else f"{self.base}-{self.round}-{attempt}", "given")
        instance = [self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index, self.run.started]
        return ExternalId(f"airflow-{_digits(instance, 32)}-{self.round}-{attempt}", "derived")


def _digits(value: Any, count: int) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:count]


def fingerprint(request_record: Mapping[str, Any], queries: Sequence[str] = ()) -> str:
    """Of an input: references by content, or by URL without a signature, which is made anew each time.

    :param request_record: see :func:`airflow_kling.reporting.xcom.describe_request`; the identity and the estimate in
        it do not count.
    :param queries: see :func:`reference_queries`; records without a ``kind`` have a fingerprint without them.
    """
    content = {name: value for name, value in request_record.items() if name not in _NOT_INPUT}
    # Records written before there were routes have none: the same input must have the same fingerprint as then.
    if content.get("route") == DEFAULT_ROUTE:
        del content["route"]
    content["references"] = [
        {name: value for name, value in reference.items() if name != "uri" or "sha256" not in reference}
        for reference in request_record.get("references", ())
    ]
    if any(queries):
        content["queries"] = list(queries)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def reference_queries(route: Route, request: KlingRequest, references: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the query of each reference given as a URL, without what signs it, else blank; extra fields last.

    A request record has none of them: they may hold secrets. A URL that was signed here says nothing of the input: the
    record has the plain address and the hash, and each try signs anew.

    :param references: their descriptions in the request record.
    """
    from airflow_kling.api.request import media_value

    values = [media_value(route, name, getattr(request, name)) for name in route.media]
    sent = itertools.chain.from_iterable(one if isinstance(one, list) else [one] for one in values)
    queries = [
        unsigned_query(one) if described.get("source") == "url" else ""
        for one, described in zip(filter(None, sent), references, strict=True)
    ]
    return [*queries, json.dumps(request.extra_fields, sort_keys=True)] if request.extra_fields else queries
