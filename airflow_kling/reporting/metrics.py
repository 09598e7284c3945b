"""Counts and times what the provider does, through Airflow's own metrics (``[metrics]``: StatsD or OpenTelemetry).

Names are bounded, and so are tags: DAG, gateway, route, model and kind of result. StatsD drops tags unless
``statsd_influxdb_enabled`` is on, so the reason of a refusal is part of the name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_kling import exceptions

if TYPE_CHECKING:
    from airflow_kling.api.tasks import KlingTask

    Tags = dict[str, str | None]

log = logging.getLogger(__name__)

PARALLEL_TASKS = "1303"  # the account's limit of generations at once, the one refusal that a smaller pool avoids

# Read from the top: the first class that fits.
_REASONS: tuple[tuple[type[exceptions.KlingError], str], ...] = (
    (exceptions.KlingRateLimitError, "rate_limit"),
    (exceptions.KlingAccountError, "account"),
    (exceptions.KlingAuthenticationError, "authentication"),
    (exceptions.KlingPermissionError, "permission"),
    (exceptions.KlingContentRejectedError, "content"),
    (exceptions.KlingBadRequestError, "bad_request"),
    (exceptions.KlingServerError, "server"),
    (exceptions.KlingConnectionError, "connection"),
)


def reason_of(error: exceptions.KlingError) -> str:
    """Why a submission was refused, in one of ten words."""
    if isinstance(error, exceptions.KlingRateLimitError) and error.code == PARALLEL_TASKS:
        return "parallel_tasks"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "other")


def submitted(tags: Tags) -> None:
    """Kling has taken a submission, and will bill it."""
    _emit("incr", "kling.submitted", 1, tags)


def adopted(tags: Tags) -> None:
    """A generation of an earlier try was taken, where otherwise another one would have been paid for."""
    _emit("incr", "kling.adopted", 1, tags)


def refused(error: exceptions.KlingError, tags: Tags) -> None:
    """Kling has refused a submission, or was not reached; nothing was created."""
    _emit("incr", f"kling.refused.{reason_of(error)}", 1, tags)


def polled(count: int, tags: Tags, *, in_triggerer: bool = False) -> None:
    """Tasks were polled, with so many requests."""
    _emit("incr", "kling.polls", count, tags, in_triggerer=in_triggerer)


def finished(task: KlingTask, *, since: float | None, now: float, tags: Tags, in_triggerer: bool = False) -> None:
    """A wait has ended with a generation that succeeded.

    :param since: epoch seconds when the wait began, None if it is not known. A generation that had ended before that
        says nothing of what waiting costs.
    :param now: epoch seconds.
    """
    emit = partial(_emit, tags=tags, in_triggerer=in_triggerer)
    if task.created_at and task.updated_at:
        emit("timing", "kling.generation.duration", task.updated_at - task.created_at)
    if task.updated_at and since is not None and (ended := task.updated_at.timestamp()) >= since:
        emit("timing", "kling.wait.overhead", timedelta(seconds=max(0.0, now - ended)))
    if units := task.billed_units:
        from airflow_kling.api.prices import pack_of

        # In the name, since StatsD may drop tags: a unit of one pack is not worth one of another.
        pack = pack_of(task.route).replace("-", "_")
        emit("incr", f"kling.units.{pack}", int(units) if units.is_integer() else units)


def archived(kind: str, size: int, tags: Tags) -> None:
    """A result was fetched and verified.

    :param kind: ``image`` or ``video``; a counter has it in its name, since StatsD may drop tags.
    :param size: bytes.
    """
    tags = {**tags, "kind": kind}
    _emit("incr", f"kling.archive.{kind}s", 1, tags)
    _emit("incr", "kling.archive.bytes", size, tags)


def _emit(kind: Literal["incr", "timing"], name: str, value: Any, tags: Tags, *, in_triggerer: bool = False) -> None:
    """Metrics never break a task, and cost nothing where they are off."""
    try:
        emit: Callable[..., None] = getattr(_stats(in_triggerer=in_triggerer), kind)
        emit(name, value, tags={tag: text for tag, text in tags.items() if text})
    except Exception:
        log.debug("The metric %s was not sent.", name, exc_info=True)


def _stats(*, in_triggerer: bool) -> Any:
    """Airflow's ``Stats`` as this process has set it up; servers, of which the triggerer is one, have their own."""
    if in_triggerer:
        with suppress(ImportError):  # before Airflow 3.2 there is one for all
            from airflow.observability.stats import Stats as of_servers

            return of_servers
    from airflow.providers.common.compat.sdk import Stats

    return Stats
