"""Publishes the archived images and videos that a person approved: ``KlingPublishImagesOperator``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.redacted_fields import RedactedFieldsMixin, redact_extra_args
from airflow_kling.reporting import lineage, xcom
from airflow_kling.reporting.assets import emit_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.archive.verdict import Verdict
    from airflow_kling.storage.base import Store


class KlingPublishImagesOperator(RedactedFieldsMixin, BaseOperator):
    """Copy the approved images and videos of an archive, verified, and write the verdict on each beside the manifest.

    Copies are ``<destination>/<kling_task_id>/<index>.<ext>``, with the poster of a video beside it; ``review.json`` in
    the archive says of each result whether it was approved or rejected, by whom and when, and which Airflow run
    published it. A result that was published before and is rejected now is removed from wherever it was published.
    Running again changes nothing.

    Returns ``{"review": uri, "manifest": uri, "kling_task_id", "published": [{"index", "uri", "sha256", "bytes",
    "width", "height", "content_type"}], "rejected": [index]}``, which is also the extra of the Asset event of each
    outlet. A video has what it has in the output of the archive task too: ``duration``, ``codec``, ``id``, ``poster``.

    Raises ``KlingInputError`` when ``review`` is not a review, or the destination is an archive of the same Kling task,
    or has a rejected result that no earlier verdict has published there. Raises ``KlingError`` when the archive is not
    what its manifest says, or a copy that is rejected now could not be removed.

    :param review: what ``KlingReviewImagesOperator`` returns: ``{"manifest": uri, "approved": [index], "by": {"id",
        "name"} | None, "at": ISO 8601}``.
    :param destination: ``s3://bucket/prefix``, or any object storage URL (``file:///...``, ``gs://...``).
    :param aws_conn_id: for ``s3://``, of archive and destination.
    :param storage_conn_id: of an archive in another object storage; its own default is taken without it.
    :param s3_extra_args: for ``s3://`` destinations: upload arguments such as ``{"CacheControl": "max-age=86400"}``.
    :param archive_s3_extra_args: for an archive in ``s3://``: what reading it needs, such as ``RequestPayer``, or the
        key of SSE-C.
    """

    template_fields: Sequence[str] = (
        "review",
        "destination",
        "aws_conn_id",
        "storage_conn_id",
        "s3_extra_args",
        "archive_s3_extra_args",
    )
    template_fields_renderers = {"review": "json", "s3_extra_args": "json"}  # noqa: RUF012 - Airflow's own declaration
    ui_color = "#fbe7cf"

    def __init__(
        self,
        *,
        review: Mapping[str, Any] | str,
        destination: str,
        aws_conn_id: str | None = "aws_default",
        storage_conn_id: str | None = None,
        s3_extra_args: dict[str, Any] | None = None,
        archive_s3_extra_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.review = review
        templates.check_destination_literal(destination, s3_extra_args)
        self.destination = destination
        self.aws_conn_id = aws_conn_id
        self.storage_conn_id = storage_conn_id
        self.s3_extra_args = s3_extra_args
        self.archive_s3_extra_args = archive_s3_extra_args
        make_storable(self)

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Show no key of the customer's."""
        return dict.fromkeys(("s3_extra_args", "archive_s3_extra_args"), redact_extra_args)

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy the results, write the verdict, and tell Airflow."""
        from airflow_kling.archive.review import open_archive, publish
        from airflow_kling.archive.verdict import reviewed_results
        from airflow_kling.lifecycle import allowed

        with failing_fast():
            allowed.check_destination(self.destination)
            manifest, verdict = self._verdict()
            archive, source = open_archive(
                manifest,
                aws_conn_id=self.aws_conn_id,
                storage_conn_id=self.storage_conn_id,
                extra_args=self.rendered_value("archive_s3_extra_args"),
            )
            summary = publish(
                archive,
                verdict,
                source=source,
                destination=str(self.destination),
                open_target=self._open_target,
                run=xcom.describe_run(context),
            )
        emit_asset_events(context, self.outlets, summary, destination=str(self.destination))
        lineage.report_hook_lineage(
            self,
            inputs=[result.uri for result in reviewed_results(archive.manifest) if result.index in verdict.approved],
            outputs=[result["uri"] for result in summary["published"]],
        )
        return summary

    def _open_target(self, destination: str) -> Store:
        from airflow_kling.storage.destination import Destination
        from airflow_kling.storage.open import open_store

        place = Destination.parse(destination)
        takes_them = place.scheme == "s3" or destination == str(self.destination)
        extra_args = self.rendered_value("s3_extra_args") if takes_them else None
        return open_store(destination, aws_conn_id=self.aws_conn_id, extra_args=extra_args)

    def _verdict(self) -> tuple[str, Verdict]:
        from airflow_kling.api.values import from_text
        from airflow_kling.archive.verdict import Verdict

        review = from_text(self.review)
        if not isinstance(review, Mapping) or not {"manifest", "approved", "by", "at"} <= review.keys():
            raise KlingInputError(
                f"review is a {type(review).__name__}, it must be what KlingReviewImagesOperator returns: manifest, "
                "approved, by and at; nothing was published."
            )
        return review["manifest"], Verdict(frozenset(review["approved"]), by=review["by"], at=str(review["at"]))
