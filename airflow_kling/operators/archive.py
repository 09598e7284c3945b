"""Archives every result of a finished task, verified, in the team's own storage: ``KlingArchiveImagesOperator``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.providers.common.compat.sdk import Asset, BaseOperator

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.outputs import ArchiveOutput
from airflow_kling.lifecycle.redacted_fields import RedactedFieldsMixin, redact_extra_args, redact_task
from airflow_kling.lifecycle.rendering import TextFieldsMixin
from airflow_kling.operators.base import KlingGenerationOperator
from airflow_kling.reporting import lineage, links, metrics, xcom
from airflow_kling.reporting.assets import emit_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.archive.download import Download
    from airflow_kling.archive.limits import DownloadLimits
    from airflow_kling.archive.result_archiver import DownloadResult

# The outlet of a task that names none. Not an alias for the destination: mapped tasks that end together would make its
# asset at the same time, and Airflow's core fails all but one of them, with their images archived.
DEFAULT_OUTLET = "kling_images"
MIB = 1024 * 1024


class KlingArchiveImagesOperator(RedactedFieldsMixin, TextFieldsMixin, BaseOperator):
    """Download every image and video of a finished Kling task, verify it, store it, and write a manifest last.

    Objects are ``<destination>/<kling_task_id>/<index>.<ext>``, the extension by content, and
    ``<destination>/<kling_task_id>/manifest.json``: what was asked (prompt, model, references without payload), what
    came back, hashes, sizes and times. Where the manifest is, the archive is complete. Running again repairs what is
    missing, and no more. An expired URL is asked for anew, and a transfer that breaks off is gone on with. Memory stays
    constant whatever the size of a result. With the extra ``video`` a video's frames are decoded too, and its first one
    becomes ``<index>.poster.jpg``.

    Returns ``{"manifest": uri, "kling_task_id", "route", "images": [{"index", "uri", "sha256", "bytes", "width",
    "height", "content_type"}]}``, and where there are any ``"videos"``, ``"unverified"`` files and ``"warnings"``. A
    video has the fields of an image, and ``"duration"`` in seconds, ``"codec"``, ``"id"`` and ``"poster"``. Each entry
    also has the ``"conn_id"`` of a connection that is not the default one. All of it, or one entry, can be a reference
    of another generation. The extra of the Asset event of each outlet has the same and the rest of the manifest:
    ``request``, ``task`` and ``run``. Without ``outlets`` of your own, the asset is ``kling_images``.

    Raises ``KlingTaskFailed`` when the generation failed, ``KlingNotFinishedError`` when it has not finished yet, and
    ``KlingDownloadError`` when a result could not be fetched or was refused; results stored before that stay, and a
    retry goes on from there. Raises ``KlingImageError`` when a result arrived whole and cannot be verified: it is kept
    in ``unverified/``, and the manifest names it.

    :param task: a finished task (output of ``KlingTaskSensor``) or a Kling task id.
    :param route: the route that made the task, where ``task`` is a Kling task id; a finished task knows its own.
    :param destination: ``s3://bucket/prefix``, or any object storage URL (``file:///...``, ``gs://...``).
    :param kling_conn_id: the connection, with the account that created the task; asked only for fresh URLs, and for
        ``allow_private_hosts``.
    :param aws_conn_id: for ``s3://`` destinations.
    :param s3_extra_args: for ``s3://`` destinations: upload arguments such as ``{"ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "..."}``; those that reading needs too, such as ``RequestPayer``, go with every request.
    :param max_image_bytes: an image larger than this is refused while it is downloaded. Up to four results at once have
        a temporary file of this size at most.
    :param max_image_pixels: width x height. More are refused, and kept as unverified.
    :param max_video_bytes: as ``max_image_bytes``, of a video; more than 5 GB are uploaded to S3 in parts.
    :param max_video_pixels: width x height of a frame. Up to 4096x2304 the first and the last frame are decoded where
        PyAV is installed, which takes some 100 MB of memory at that size; of larger ones the structure is the proof.
    :param max_video_seconds: how long a video may play; the API's longest plays 3 minutes.
    :param accept_unverified: take results that arrived whole and cannot be verified. They are kept in
        ``<destination>/<kling_task_id>/unverified/`` either way; without this, the task fails and says where.
    """

    template_fields: Sequence[str] = ("task", "route", "destination", "kling_conn_id", "aws_conn_id", "s3_extra_args")
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
        aws_conn_id: str | None = "aws_default",
        s3_extra_args: dict[str, Any] | None = None,
        max_image_bytes: int = 64 * MIB,
        max_image_pixels: int = 80_000_000,
        max_video_bytes: int = 1024 * MIB,
        max_video_pixels: int = 40_000_000,
        max_video_seconds: float = 600,
        accept_unverified: bool = False,
        **kwargs: Any,
    ) -> None:
        if "outlets" not in (kwargs.get("default_args") or {}):
            kwargs.setdefault("outlets", [Asset(DEFAULT_OUTLET)])
        super().__init__(**kwargs)
        self.task = task
        self._finished: KlingTask | None = None
        self._request: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        templates.check_destination_literal(destination, s3_extra_args)
        self.destination = destination
        self.route = route
        self.kling_conn_id = kling_conn_id
        self.aws_conn_id = aws_conn_id
        self.s3_extra_args = s3_extra_args
        self.max_image_bytes = max_image_bytes
        self.max_image_pixels = max_image_pixels
        self.max_video_bytes = max_video_bytes
        self.max_video_pixels = max_video_pixels
        self.max_video_seconds = max_video_seconds
        self.accept_unverified = accept_unverified
        make_storable(self)

    @property
    def output(self) -> ArchiveOutput:
        """What the task returns, as an input of other tasks; ``output["images"][1]`` is a part of it."""
        return ArchiveOutput(self)

    @cached_property
    def hook(self) -> KlingHook:
        """The connection, looked up once."""
        return KlingHook(self.kling_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Archive, then tell Airflow what there is now."""
        from airflow_kling.api.archived import with_connection
        from airflow_kling.archive.archiver import archive_task
        from airflow_kling.archive.summary import describe_event, summarize
        from airflow_kling.lifecycle import allowed
        from airflow_kling.storage.destination import Destination
        from airflow_kling.storage.open import AWS_CONN_ID, open_store

        with failing_fast():
            self.destination = str(self.destination)  # an ObjectStoragePath is one too
            allowed.check_destination(self.destination)
            self._push_links(context)
            task = self._finished = self._finished_task()
            asked = self._request = self._asked(context, task.kling_task_id)
            destination = Destination.parse(self.destination, self.rendered_value("s3_extra_args"))
            archive = archive_task(
                task,
                store=open_store(
                    destination, aws_conn_id=self.aws_conn_id, extra_args=self.rendered_value("s3_extra_args")
                ),
                download=self._download(asked),
                refresh=lambda: self._ask(task.kling_task_id, task.route),
                request=asked,
                run=xcom.describe_run(context),
                accept_unverified=self.accept_unverified,
            )
        summary = self._summary = summarize(archive)
        conn_id = destination.connection(self.aws_conn_id)
        named = None if conn_id == AWS_CONN_ID else conn_id
        self._log_bill(task, asked)
        if ti := context.get("ti"):  # for the gallery, under a key by which a database finds it
            described = xcom.describe_archive(summary, task=task, asked=asked, conn_id=conn_id)
            ti.xcom_push(key=xcom.archive_key(task.kling_task_id), value=described)
        event = with_connection(describe_event(archive), named)
        emit_asset_events(context, self.outlets, event, destination=self.destination)
        lineage.report_hook_lineage(
            self.hook, inputs=lineage.addresses(asked.get("references") or ()), outputs=lineage.archived(summary)
        )
        return with_connection(summary, named)

    def _log_bill(self, task: KlingTask, asked: Mapping[str, Any]) -> None:
        """Say what was billed, and what had been estimated where that is another amount."""
        from airflow_kling.api.prices import compare_bill

        if bill := compare_bill(task.route, task.billed_units, asked.get("estimated_units")):
            said, dearer = bill
            self.log.log(logging.WARNING if dearer else logging.INFO, said)

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Show the task without signatures, and no key of the customer's."""
        return {"task": redact_task, "s3_extra_args": redact_extra_args}

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

    def _push_links(self, context: Context) -> None:
        from airflow_kling.storage.s3 import console_url

        if kling_task_id := self._kling_task_id:
            links.push_gallery_link(context, kling_task_id)
            url = partial(console_url, self.destination, kling_task_id, aws_conn_id=self.aws_conn_id)
            links.push_s3_console_link(context, url)

    def _download(self, asked: Mapping[str, Any]) -> DownloadResult:
        from airflow_kling.archive.download import download_result

        limits, options = self._limits(), self.hook.settings.download_options()

        def download(url: str, file: BinaryIO, kind: str) -> Download:
            return download_result(url, file, kind, limits=limits.get(kind, limits["video"]), **options)

        tags = {
            "dag_id": self.dag_id,
            "gateway": self.hook.settings.gateway,
            "model": asked.get("model_name"),
            "route": asked.get("route"),
        }
        return _counting(download, tags)

    def _limits(self) -> dict[str, DownloadLimits]:
        from airflow_kling.archive.limits import LIMITS

        image = replace(LIMITS["image"], max_bytes=self.max_image_bytes, max_pixels=self.max_image_pixels)
        video = replace(
            LIMITS["video"],
            max_bytes=self.max_video_bytes,
            max_pixels=self.max_video_pixels,
            max_seconds=self.max_video_seconds,
        )
        return {"image": image, "video": video}

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


def _counting(download: DownloadResult, tags: metrics.Tags) -> DownloadResult:
    """The same download, which counts each result that was fetched and verified, and its bytes."""

    def counted(url: str, file: BinaryIO, kind: str) -> Download:
        got = download(url, file, kind)
        metrics.archived(kind, got.bytes, tags)
        return got

    return counted


def _not_failed(task: KlingTask) -> KlingTask:
    from airflow_kling.api.error_table import task_failure
    from airflow_kling.api.tasks import FAILED

    if task.status == FAILED:
        raise task_failure(task)
    return task
