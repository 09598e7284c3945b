"""Makes a task instance's submission: its identity, its records and its callback notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_kling.exceptions import KlingError
from airflow_kling.storage.open import open_store
from airflow_kling.submission import messages
from airflow_kling.submission.identity import Identity, fingerprint, reference_queries
from airflow_kling.submission.object_records import open_records
from airflow_kling.submission.submitter import Submission

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.connection import Settings
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.route import Route
    from airflow_kling.storage.base import Store


def make_submission(
    context: Context,
    client: KlingClient,
    request: KlingRequest,
    asked: Mapping[str, Any],
    *,
    route: Route,
    settings: Settings,
    retries: int,
    archive: tuple[str, Callable[[str], Store]] | None = None,
    **options: Any,
) -> Submission:
    """Make the submission of the task instance that a context is of.

    :param asked: the request record.
    :param settings: of the connection.
    :param retries: of the task.
    :param archive: see :func:`~airflow_kling.submission.object_records.open_records`.
    :param options: further parameters of :class:`~airflow_kling.submission.submitter.Submission`.
    """
    identity = _identity(context, request.external_task_id, settings, retries)
    return Submission(
        client=client,
        request=request,
        identity=identity,
        records=open_records(settings.record_store, context.get("task_state_store"), identity, archive=archive),
        notes=_notes(settings, request),
        route=route.name,
        fingerprint=fingerprint(asked, reference_queries(route, request, asked["references"])),
        old_fingerprint=fingerprint(asked),
        **options,
    )


def earlier_submission(
    context: Context,
    *,
    base: str | None,
    settings: Settings,
    retries: int,
    archive: tuple[str, Callable[[str], Store]] | None,
) -> str:
    """Say what an earlier try has submitted by its record, for an error that ends a try before it knows its request.

    :param base: the author's own ``external_task_id``.
    :return: a sentence; blank where no record tells of a Kling task.
    """
    try:
        identity = _identity(context, base, settings, retries)
        if identity is None or identity.first_try:
            return ""
        records = open_records(settings.record_store, context.get("task_state_store"), identity, archive=archive)
        record = records.read(identity)
    except KlingError:  # the error that ends the try is worth more
        return ""
    return messages.earlier_submission(record.kling_task_id) if record and record.kling_task_id else ""


def _identity(context: Context, base: str | None, settings: Settings, retries: int) -> Identity | None:
    """Return who the task instance is."""
    deployment = settings.namespace or _base_url()
    return Identity.of(context, retries=retries, base=base, deployment=deployment)


def _base_url() -> str:
    """Return where this Airflow's UI is, which tells it from another that nobody has named."""
    section = "api" if AIRFLOW_V_3_0_PLUS else "webserver"
    return str(conf.get(section, "base_url", fallback=""))


def _notes(settings: Settings, request: KlingRequest) -> Store | None:
    """Return where the receiver notes callbacks; None where there is none, or the author has a URL of their own."""
    return open_store(settings.record_store) if settings.callback_base_url and not request.callback_url else None
