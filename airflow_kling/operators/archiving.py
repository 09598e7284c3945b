"""Archives a finished task, and tells Airflow: what the archive operator and the generating ones have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.providers.common.compat.sdk import Asset, BaseOperator

from airflow_kling.api.values import is_blank
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.defaults import default_args_here
from airflow_kling.lifecycle.outputs import ArchiveOutput
from airflow_kling.lifecycle.redacted_fields import RedactedFieldsMixin, redact_extra_args
from airflow_kling.lifecycle.rendering import TextFieldsMixin
from airflow_kling.reporting import lineage, links, metrics, xcom
from airflow_kling.reporting.assets import emit_asset_events
from airflow_kling.storage.destination import Destination

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.archive.download import Download
    from airflow_kling.archive.limits import DownloadLimits
    from airflow_kling.archive.result_archiver import DownloadResult
    from airflow_kling.storage.base import Store

# The outlet of a task that names none. Not an alias for the destination: mapped tasks that end together would make its
# asset at the same time, and Airflow's core fails all but one of them, with their images archived.
DEFAULT_OUTLET = "kling_images"
MIB = 1024 * 1024


class ArchivingOperator(RedactedFieldsMixin, TextFieldsMixin, BaseOperator):
    """A task that archives every result of a Kling task, where it has a destination.

    Without ``outlets`` of its own, its outlet is then the asset ``kling_images``.

    :param destination: ``s3://bucket/prefix``, or any object storage URL (``file:///...``, ``gs://...``). None archives
        nothing. Where an operator is mapped over it, name ``outlets`` in ``partial()``: Airflow emits no events else.
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

    template_fields: Sequence[str] = ("destination", "aws_conn_id", "s3_extra_args")

    kling_conn_id: str

    def __init__(
        self,
        *,
        destination: str | None = None,
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
        if destination is not None:
            templates.check_destination_literal(destination, s3_extra_args)
            if "outlets" not in (kwargs.get("default_args") or {}):
                kwargs.setdefault("outlets", [Asset(DEFAULT_OUTLET)])
        super().__init__(**kwargs)
        #: Whether the author gave a destination, which a template may have rendered to nothing.
        self.archives = destination is not None
        self._checks_destination = self.archives
        if self.archives:
            self.operator_extra_links = (*links.GALLERY_LINKS, links.S3ConsoleLink())
        self._finished: KlingTask | None = None
        self._summary: dict[str, Any] = {}
        self.destination = destination
        self.aws_conn_id = aws_conn_id
        self.s3_extra_args = s3_extra_args
        self.max_image_bytes = max_image_bytes
        self.max_image_pixels = max_image_pixels
        self.max_video_bytes = max_video_bytes
        self.max_video_pixels = max_video_pixels
        self.max_video_seconds = max_video_seconds
        self.accept_unverified = accept_unverified

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """As Airflow's, which knows of a mapped task's outlets only what is named here, and emits no other events."""
        named = "outlets" in kwargs or "outlets" in default_args_here(kwargs.get("default_args"))
        if kwargs.get("destination") is not None and not named:
            kwargs["outlets"] = [Asset(DEFAULT_OUTLET)]
        return super().partial(**kwargs)

    @cached_property
    def hook(self) -> KlingHook:
        """The connection, looked up once."""
        return KlingHook(self.kling_conn_id)

    @property
    def output(self) -> Any:
        """What the task returns, as an input of other tasks; of an archive ``output["images"][1]`` is a part of it."""
        return ArchiveOutput(self) if self.archives else super().output

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Show no key of the customer's."""
        return {"s3_extra_args": redact_extra_args}

    def archived_elsewhere(self, destination: Any) -> None:
        """Name the destination of the task that archives what this one submits: it is rendered and checked here too.

        :param destination: as the author wrote it.
        """
        self.destination, self._checks_destination = destination, True
        make_storable(self)

    def check_destination(self) -> None:
        """Refuse a destination that can never work, before anything is paid for.

        :raises KlingInputError: it is none, is not allowed, or its storage is not installed here.
        """
        if not self._checks_destination:
            return
        from airflow_kling.lifecycle import allowed
        from airflow_kling.storage.open import check_installed

        destination, extra_args = self.destination, self.rendered_value("s3_extra_args")
        try:
            if is_blank(destination):
                raise KlingInputError(
                    f"destination has become {destination!r}, it must be a URL such as s3://bucket/prefix."
                )
            templates.check_rendered({"destination": str(destination)})
            check_installed(Destination.parse(destination, extra_args))
            allowed.check_destination(destination)
        except KlingInputError as error:
            error.money = "Nothing was submitted."
            raise

    @property
    def record_place(self) -> tuple[str, Callable[[str], Store]] | None:
        """Where a submission record may lie and how it is opened: beside the archive, None without one."""
        if not self.archives:
            return None
        from airflow_kling.storage.open import open_store

        options = {"aws_conn_id": self.aws_conn_id, "extra_args": self.rendered_value("s3_extra_args")}
        return str(self.destination), partial(open_store, **options)

    def archive(
        self, context: Context, task: KlingTask, asked: Mapping[str, Any], *, refresh: Callable[[], KlingTask]
    ) -> dict[str, Any]:
        """Archive a finished task, then tell Airflow what there is now.

        :param asked: the request record; empty where it is not known.
        :param refresh: asks for the finished task again, whose URLs are fresh.
        :return: see :class:`~airflow_kling.operators.archive.KlingArchiveImagesOperator`.
        """
        from airflow_kling.api.archived import with_connection
        from airflow_kling.archive.archiver import archive_task
        from airflow_kling.archive.summary import describe_event, summarize
        from airflow_kling.storage.open import AWS_CONN_ID

        destination = Destination.parse(self.destination, self.rendered_value("s3_extra_args"))
        archive = archive_task(
            task,
            store=self._store,
            download=self._download(asked),
            refresh=refresh,
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
        emit_asset_events(context, self.outlets, event, destination=str(self.destination))
        lineage.report_hook_lineage(
            self.hook, inputs=lineage.addresses(asked.get("references") or ()), outputs=lineage.archived(summary)
        )
        return with_connection(summary, named)

    @cached_property
    def _store(self) -> Store:
        """The store of the destination, whose connection is looked up once."""
        from airflow_kling.storage.open import open_store

        extra_args = self.rendered_value("s3_extra_args")
        return open_store(self.destination, aws_conn_id=self.aws_conn_id, extra_args=extra_args)

    def set_console_link(self, context: Context, kling_task_id: str) -> None:
        """Set the link to the folder of the archive in the AWS console."""
        links.set_s3_console_link(self, context, lambda: self._store.console_url(kling_task_id))

    def _log_bill(self, task: KlingTask, asked: Mapping[str, Any]) -> None:
        """Say what was billed, and what had been estimated where that is another amount."""
        from airflow_kling.api.prices import compare_bill

        if bill := compare_bill(task.route, task.billed_units, asked.get("estimated_units")):
            said, dearer = bill
            self.log.log(logging.WARNING if dearer else logging.INFO, said)

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


def _counting(download: DownloadResult, tags: metrics.Tags) -> DownloadResult:
    """The same download, which counts each result that was fetched and verified, and its bytes."""

    def counted(url: str, file: BinaryIO, kind: str) -> Download:
        got = download(url, file, kind)
        metrics.archived(kind, got.bytes, tags)
        return got

    return counted
