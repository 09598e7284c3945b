"""``KlingArchiveImagesOperator``: every image of a finished task, verified, into the team's own storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.providers.common.compat.sdk import Asset, BaseOperator

from airflow_kling.exceptions import KlingInputError, KlingTaskFailed
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.rendering import TextFieldsMixin
from airflow_kling.operators.base import KlingGenerationOperator
from airflow_kling.reporting import lineage, links, metrics, xcom
from airflow_kling.reporting.assets import emit_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_kling.archive.archiver import DownloadImage
    from airflow_kling.archive.download import Download

# The outlet of a task that names none. Not an alias for the destination: mapped tasks that end together would make its
# asset at the same time, and Airflow's core fails all but one of them, with their images archived.
DEFAULT_OUTLET = "kling_images"
MIB = 1024 * 1024


class KlingArchiveImagesOperator(TextFieldsMixin, BaseOperator):
    """Download every image of a finished Kling task, verify it, store it, and write a manifest last.

    Objects are ``<destination>/<kling_task_id>/<index>.<ext>``, the extension by content, and
    ``<destination>/<kling_task_id>/manifest.json``: what was asked (prompt, model, references without payload), what
    came back, hashes, sizes and times. Where the manifest is, the archive is complete. Running again changes nothing
    but repairs what is missing. An expired URL is asked for anew. Memory stays constant whatever the size of an image.

    Returns ``{"manifest": uri, "kling_task_id", "images": [{"index", "uri", "sha256", "bytes", "width", "height",
    "content_type"}]}``. The extra of the Asset event of each outlet has the same and the rest of the manifest:
    ``request``, ``task`` and ``run``. Without ``outlets`` of your own, the asset is ``kling_images``.

    Raises ``KlingTaskFailed`` when the generation failed, ``KlingDownloadError`` when an image could not be fetched or
    was refused; images stored before that stay, and a retry goes on from there.

    :param task: a finished task (output of ``KlingTaskSensor``) or a Kling task id.
    :param destination: ``s3://bucket/prefix``, or any object storage URL (``file:///...``, ``gs://...``).
    :param kling_conn_id: the connection, with the account that created the task; asked only for fresh URLs, and for
        ``allow_private_hosts``.
    :param aws_conn_id: for ``s3://`` destinations.
    :param s3_extra_args: for ``s3://`` destinations: upload arguments such as ``{"ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "..."}``.
    :param max_image_bytes: an image larger than this is refused while it is downloaded.
    """

    template_fields: Sequence[str] = ("task", "destination", "kling_conn_id", "aws_conn_id", "s3_extra_args")
    text_fields = ("destination", "kling_conn_id", "aws_conn_id")
    template_fields_renderers = {"task": "json", "s3_extra_args": "json"}  # noqa: RUF012 - Airflow's own declaration
    operator_extra_links = (*links.GALLERY_LINKS, links.S3ConsoleLink())
    ui_color = "#fbe7cf"

    def __init__(
        self,
        *,
        task: Mapping[str, Any] | str,
        destination: str,
        kling_conn_id: str = KlingHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        s3_extra_args: dict[str, Any] | None = None,
        max_image_bytes: int = 64 * MIB,
        **kwargs: Any,
    ) -> None:
        if "outlets" not in (kwargs.get("default_args") or {}):
            kwargs.setdefault("outlets", [Asset(DEFAULT_OUTLET)])
        super().__init__(**kwargs)
        self.task = task
        self._task: Any = None
        self._request: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        templates.check_destination_literal(destination, s3_extra_args)
        self.destination = destination
        self.kling_conn_id = kling_conn_id
        self.aws_conn_id = aws_conn_id
        self.s3_extra_args = s3_extra_args
        self.max_image_bytes = max_image_bytes

    @cached_property
    def hook(self) -> KlingHook:
        """The connection, looked up once per process."""
        return KlingHook(self.kling_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Archive, then tell Airflow what there is now."""
        from airflow_kling.archive.archiver import archive_task
        from airflow_kling.archive.download import DownloadLimits, download_image
        from airflow_kling.archive.manifest import describe_event, summarize
        from airflow_kling.hooks.kling import shared_ssl_context
        from airflow_kling.storage.open import open_store

        with failing_fast():
            self.destination = str(self.destination)  # an ObjectStoragePath is one too
            self._push_links(context)
            task = self._task = self._finished_task()
            asked = self._request = self._asked(context, task["kling_task_id"])
            archive = archive_task(
                task,
                store=open_store(self.destination, aws_conn_id=self.aws_conn_id, extra_args=self.s3_extra_args),
                download=_counting(
                    partial(
                        download_image,
                        limits=DownloadLimits(max_bytes=self.max_image_bytes),
                        allow_private_hosts=self.hook.settings.allow_private_hosts,
                        ssl_context=shared_ssl_context(),
                    ),
                    self._tags(asked),
                ),
                refresh=lambda: self._ask(task["kling_task_id"]),
                request=asked,
                run=_run(context),
            )
        summary = self._summary = summarize(archive)
        self._push_record(context, summary, task, asked)
        emit_asset_events(context, self.outlets, describe_event(archive), destination=self.destination)
        lineage.report_hook_lineage(
            self.hook, inputs=lineage.addresses(asked.get("references") or ()), outputs=lineage.archived(summary)
        )
        return summary

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Render, then keep the finished task aside: Airflow stores and shows what ``task`` is now, without signatures.

        Airflow calls this one, and not ``render_template_fields``, for mapped tasks too.
        """
        super()._do_render_template_fields(parent, *args, **kwargs)
        if parent is self:
            from airflow_kling.api.values import from_text

            self._task = from_text(self.task)
            self.task = _without_signatures(self._task)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """References and archived images; after a failure, OpenLineage asks here too, and there are no outputs."""
        from airflow_kling.api.tasks import KlingTask
        from airflow_kling.reporting.openlineage import operator_lineage

        task = self._given
        return operator_lineage(
            kling_task_id=self._kling_task_id,
            asked=self._request,
            units=KlingTask.from_xcom(task).billed_units if isinstance(task, Mapping) else None,
            inputs=lineage.addresses(self._request.get("references") or ()),
            outputs=lineage.archived(self._summary) if self._summary else (),
        )

    @property
    def _given(self) -> Any:
        from airflow_kling.api.values import from_text

        return self._task or from_text(self.task)

    @property
    def _kling_task_id(self) -> str | None:
        found = self._given.get("kling_task_id") if isinstance(self._given, Mapping) else self._given
        return str(found) if found else None

    def _push_links(self, context: Context) -> None:
        from airflow_kling.storage.s3 import console_url

        if kling_task_id := self._kling_task_id:
            links.push_gallery_link(context, kling_task_id)
            url = partial(console_url, self.destination, kling_task_id, aws_conn_id=self.aws_conn_id)
            links.push_s3_console_link(context, url)

    def _tags(self, asked: Mapping[str, Any]) -> dict[str, str | None]:
        return {
            "dag_id": self.dag_id,
            "gateway": self.hook.settings.gateway,
            "model": asked.get("model_name"),
            "route": asked.get("route"),
        }

    def _push_record(
        self, context: Context, summary: Mapping[str, Any], task: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> None:
        """Leave in XCom what the gallery shows, under a key by which a database finds it."""
        from airflow_kling.api.tasks import KlingTask

        if ti := context.get("ti"):
            conn_id = xcom.connection(self.destination, self.aws_conn_id)
            described = xcom.describe_archive(summary, task=KlingTask.from_xcom(task), asked=asked, conn_id=conn_id)
            ti.xcom_push(key=xcom.archive_key(summary["kling_task_id"]), value=described)

    def _finished_task(self) -> Mapping[str, Any]:
        task = self._given
        if isinstance(task, str | int):
            return self._ask(str(task))
        if not isinstance(task, Mapping) or not task.get("kling_task_id"):
            raise KlingInputError(
                f"task is a {type(task).__name__} without kling_task_id, it must be a finished task (the sensor's "
                "output) or a Kling task id; nothing was archived."
            )
        if task.get("status") == "failed":
            raise _failure(task)
        if task.get("status") == "succeed" and not task.get("images"):
            return self._ask(str(task["kling_task_id"]))
        return task

    def _ask(self, kling_task_id: str) -> dict[str, Any]:
        from airflow_kling.api.error_table import task_failure

        task = self.hook.get_task(kling_task_id)
        if task.status == "failed":
            raise task_failure(task)
        return task.to_xcom()

    def _asked(self, context: Context, kling_task_id: str) -> dict[str, Any]:
        """What the submitting task left in XCom, wherever upstream in this DAG it is; empty when it is elsewhere."""
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


def _counting(download: DownloadImage, tags: metrics.Tags) -> DownloadImage:
    """The same download, which counts each image that was fetched and verified, and its bytes."""

    def counted(url: str, file: BinaryIO) -> Download:
        got = download(url, file)
        metrics.archived(got.bytes, tags)
        return got

    return counted


def _failure(task: Mapping[str, Any]) -> KlingTaskFailed:
    from airflow_kling.api.error_table import task_failure
    from airflow_kling.api.tasks import KlingTask

    reason = str(task.get("status_message") or "")
    return task_failure(KlingTask(kling_task_id=str(task["kling_task_id"]), status="failed", status_message=reason))


def _without_signatures(task: Any) -> Any:
    if not isinstance(task, Mapping) or not isinstance(task.get("images"), list):
        return task
    from airflow_kling.api.redact import redact_url

    images = [
        {**image, "url": redact_url(str(image.get("url")))} for image in task["images"] if isinstance(image, dict)
    ]
    return {**task, "images": images}


def _run(context: Context) -> dict[str, Any]:
    ti = context.get("ti")
    if ti is None:
        return {}
    return {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")}
