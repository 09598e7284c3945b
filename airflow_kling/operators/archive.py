"""Archives every result of a finished task, verified, in the team's own storage: ``KlingArchiveImagesOperator``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.redacted_fields import redact_task
from airflow_kling.operators.archiving import ArchivingOperator
from airflow_kling.operators.base import KlingGenerationOperator
from airflow_kling.reporting import lineage, links, xcom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_kling.api.tasks import KlingTask


class KlingArchiveImagesOperator(ArchivingOperator):
    """Download every image and video of a finished Kling task, verify it, store it, and write a manifest last.

    Objects are ``<destination>/<kling_task_id>/<index>.<ext>``, the extension by content, and
    ``<destination>/<kling_task_id>/manifest.json``: what was asked (prompt, model, references without payload), what
    came back, hashes, sizes and times. Where the manifest is, the archive is complete. Running again repairs what is
    missing, and no more. An expired URL is asked for anew, and a transfer that breaks off is gone on with. Memory stays
    constant whatever the size of a result. With the extra ``video`` a video's frames are decoded too, and its first one
    becomes ``<index>.poster.jpg``.

    Returns ``{"manifest": uri, "kling_task_id", "route", "images": [{"index", "uri", "sha256", "bytes", "width",
    "height", "content_type"}]}``, and where there are any ``"videos"``, ``"unverified"`` files and ``"warnings"``. A
    video has the fields of an image, and ``"duration"`` in seconds, ``"codec"``, ``"id"`` and ``"poster"``; each result
    also has the ``"conn_id"`` of a connection that is not the default one. All of it, or one result, can be a reference
    of another generation. The extra of the Asset event of each outlet has the same and the rest of the manifest:
    ``request``, ``task`` and ``run``. Without ``outlets`` of your own, the asset is ``kling_images``.

    Raises ``KlingTaskFailed`` when the generation failed, ``KlingNotFinishedError`` when it has not finished yet, and
    ``KlingDownloadError`` when a result could not be fetched or was refused; results stored before that stay, and a
    retry goes on from there. Raises ``KlingImageError`` when a result arrived whole and cannot be verified: it is kept
    in ``unverified/``, and the manifest names it.

    Further parameters, ``aws_conn_id``, ``max_image_bytes`` and so on, are at
    :class:`~airflow_kling.operators.archiving.ArchivingOperator`.

    :param task: a finished task (output of ``KlingTaskSensor``) or a Kling task id.
    :param route: the route that made the task, where ``task`` is a Kling task id; a finished task knows its own.
    :param destination: ``s3://bucket/prefix``, or any object storage URL (``file:///...``, ``gs://...``).
    :param kling_conn_id: the connection, with the account that created the task; asked only for fresh URLs, and for
        ``allow_private_hosts``.
    """

    template_fields: Sequence[str] = ("task", "route", "kling_conn_id", *ArchivingOperator.template_fields)
    text_fields = ("route", "destination", "kling_conn_id", "aws_conn_id")
    template_fields_renderers = {"task": "json", "s3_extra_args": "json"}  # noqa: RUF012 - Airflow's own declaration
    operator_extra_links = (*links.GALLERY_LINKS, links.S3ConsoleLink())
    ui_color = "#fbe7cf"

    def __init__(
        self,
        *,
        task: Mapping[str, Any] | str,
        destination: str,
        route: str = DEFAULT_ROUTE,
        kling_conn_id: str = KlingHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        templates.check_destination_literal(destination)  # not even None is one
        super().__init__(destination=destination, **kwargs)
        self._request: dict[str, Any] = {}
        self.task = task
        self.route = route
        self.kling_conn_id = kling_conn_id
        make_storable(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Archive, then tell Airflow what there is now."""
        from airflow_kling.lifecycle import allowed

        with failing_fast():
            self.destination = str(self.destination)  # an ObjectStoragePath is one too
            allowed.check_destination(self.destination)
            if kling_task_id := self._kling_task_id:
                links.set_gallery_link(self, context, kling_task_id)
                self.set_console_link(context, kling_task_id)
            task = self._finished = self._finished_task()
            asked = self._request = self._asked(context, task.kling_task_id)
            return self.archive(context, task, asked, refresh=lambda: self._ask(task.kling_task_id, task.route))

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Show the task without signatures, and no key of the customer's."""
        return {"task": redact_task, **super().redactions()}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return references and archived images; OpenLineage asks after a failure too, when there are none."""
        from airflow_kling.reporting.openlineage import operator_lineage

        return operator_lineage(
            kling_task_id=self._kling_task_id,
            asked=self._request,
            units=self._finished.billed_units if self._finished else None,
            inputs=lineage.addresses(self._request.get("references") or ()),
            outputs=lineage.archived(self._summary) if self._summary else (),
        )

    def _task_as_given(self) -> Any:
        from airflow_kling.api.values import from_text

        return from_text(self.rendered_value("task"))

    @property
    def _kling_task_id(self) -> str | None:
        given = self._task_as_given()
        found = given.get("kling_task_id") if isinstance(given, Mapping) else given
        return str(found) if found else None

    def _finished_task(self) -> KlingTask:
        from airflow_kling.api.tasks import SUCCEED, KlingTask

        given = self._task_as_given()
        if isinstance(given, str | int):
            return self._ask(str(given), self.route)
        task = KlingTask.from_xcom(given)
        if task.status == SUCCEED and not task.complete:
            return self._ask(task.kling_task_id, task.route)
        return _not_failed(task)

    def _ask(self, kling_task_id: str, route: str) -> KlingTask:
        return _not_failed(self.hook.get_task(kling_task_id, route=route))

    def _asked(self, context: Context, kling_task_id: str) -> dict[str, Any]:
        """Return the request record that the submitting task left in XCom; empty when it is in another DAG."""
        ti = context.get("ti")
        if ti is None or not self.has_dag():  # type: ignore[no-untyped-call]
            return {}
        submitters = [
            upstream.task_id
            for upstream in self.get_flat_relatives(upstream=True)
            if issubclass(getattr(upstream, "operator_class", type(upstream)), KlingGenerationOperator)
        ]
        found = ti.xcom_pull(task_ids=submitters, key=xcom.request_key(kling_task_id)) if submitters else ()
        return next((dict(asked) for asked in found or () if isinstance(asked, Mapping)), {})


def _not_failed(task: KlingTask) -> KlingTask:
    from airflow_kling.api.error_table import task_failure
    from airflow_kling.api.tasks import FAILED

    if task.status == FAILED:
        raise task_failure(task)
    return task
