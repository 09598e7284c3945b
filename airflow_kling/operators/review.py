"""Asks a person which archived images and videos may be published: ``KlingReviewImagesOperator`` (Airflow 3.1+)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.lifecycle.dag_params import make_storable
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.reporting import gallery_urls

if not AIRFLOW_V_3_1_PLUS:
    raise ImportError("KlingReviewImagesOperator needs Airflow 3.1 or newer, which can ask a person.")

from airflow.providers.standard.operators.hitl import HITLOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.archive.manifest import Archive, Manifest
    from airflow_kling.archive.verdict import ReviewedEntry
    from airflow_kling.storage.base import Store

# The standard provider of Airflow 3.1.8's time (1.12) does not: there execution_timeout limits the wait for the answer.
HAS_RESPONSE_TIMEOUT = "response_timeout" in inspect.signature(HITLOperator.__init__).parameters
NONE = "None of them"
_QUESTION = "Which {} may be published?"
_SIZES: tuple[gallery_urls.Size, ...] = ("thumb", "large")


class KlingReviewImagesOperator(HITLOperator):
    """Show the images and videos of an archive on Airflow's page of required actions, and wait for a person's choice.

    The person ticks those that may be published, or "None of them". The wait takes no worker. Where nobody answers
    within ``response_timeout``, nothing is approved.

    Returns ``{"manifest": uri, "kling_task_id", "approved": [index], "rejected": [index], "by": {"id", "name"} | None,
    "at": ISO 8601}``, for :class:`KlingPublishImagesOperator`; ``by`` is None when nobody answered in time.

    Raises ``ValueError`` when results were ticked and "None of them" too: with ``retries`` the person is asked again.

    :param manifest: address of the manifest, e.g. ``archive.output["manifest"]``, or ``event.extra["manifest"]`` of an
        Asset event.
    :param aws_conn_id: for ``s3://`` archives.
    :param storage_conn_id: of an archive in another object storage; its own default is taken without it.
    :param response_timeout: how long to wait for an answer; without one for ever.
    :param assigned_users: ``{"id", "name"}`` of those who may answer; everybody who may change the DAG without it.
    :param notifiers: told that an answer is needed.
    """

    template_fields: Collection[str] = ("manifest", "aws_conn_id", "storage_conn_id")
    ui_color = "#fde2e4"

    def __init__(
        self,
        *,
        manifest: str,
        aws_conn_id: str | None = "aws_default",
        storage_conn_id: str | None = None,
        response_timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        if HAS_RESPONSE_TIMEOUT:
            kwargs["response_timeout"] = response_timeout
        # What is asked is known once the manifest is read. Without defaults the form starts with nothing ticked.
        super().__init__(subject=_QUESTION.format("images"), options=[NONE], multiple=True, **kwargs)
        self.manifest = manifest
        self.aws_conn_id = aws_conn_id
        self.storage_conn_id = storage_conn_id
        self.response_timeout = response_timeout
        make_storable(self)

    def execute(self, context: Context) -> Any:
        """Ask, and wait without a worker."""
        archive, store = self._open()
        self.options = [*_labels(archive.manifest), NONE]
        self.subject = f"{_question(archive.manifest)} {shorten(_title(archive.manifest), 100, placeholder=' ...')}"
        self.body = describe(archive, store, ui=conf.get("api", "base_url", fallback="/"))
        if not HAS_RESPONSE_TIMEOUT and self.response_timeout:
            # As a limit on this process Airflow has read it already.
            self.execution_timeout = self.response_timeout
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Read the answer, or the lack of one."""
        archive, _ = self._open()
        labels = _labels(archive.manifest)
        self.options = [*labels, NONE]
        if event.get("error_type") == "timeout":
            self.log.warning("Nobody answered in time: nothing is approved")
            answer: Mapping[str, Any] = {
                "chosen_options": [NONE],
                "responded_by_user": None,
                "responded_at": datetime.now(UTC),
            }
        else:
            answer = super().execute_complete(context, event)
        approved = read_choice(answer["chosen_options"], labels)
        return {
            "manifest": archive.uri,
            "kling_task_id": archive.manifest.kling_task_id,
            "approved": approved,
            "rejected": [index for index in labels.values() if index not in approved],
            "by": answer["responded_by_user"],
            "at": answer["responded_at"].isoformat(),
        }

    def _open(self) -> tuple[Archive, Store]:
        from airflow_kling.archive.review import open_archive

        with failing_fast():
            return open_archive(self.manifest, aws_conn_id=self.aws_conn_id, storage_conn_id=self.storage_conn_id)


def read_choice(chosen: Sequence[str], labels: Mapping[str, int]) -> list[int]:
    """Indexes of the images or videos that were ticked.

    :raises ValueError: "None of them" was ticked together with others.
    """
    if NONE in chosen and len(chosen) > 1:
        raise ValueError(f"{', '.join(chosen)} were ticked together, which is a contradiction; please choose again.")
    return sorted(labels[label] for label in chosen if label != NONE)


def describe(archive: Archive, store: Store, *, ui: str) -> str:
    """What the person reads: Markdown, of which Airflow's UI shows no HTML.

    A manifest may come from anywhere: its texts are shown as code, in which nothing is read as Markdown, and where a
    result lies is what will be published, not what the manifest says. Markdown has no player: the poster of a video
    leads to the gallery's video.

    :param store: where the archive is.
    :param ui: base URL of Airflow's UI. Of it only the path is used: pictures come from the gallery, which shows them
        to the reader's own session, whatever name the reader knows the server by.
    """
    manifest = archive.manifest
    asked = [code for name in ("model_name", "aspect_ratio") if (code := _code(manifest.request.get(name) or ""))]
    parts = [" · ".join([f"**Kling task {manifest.kling_task_id}**", *asked])]
    if prompt := manifest.request.get("prompt"):
        parts.append(_fenced(str(prompt)))
    path = urlsplit(ui).path.rstrip("/")
    in_gallery = {"dag_id", "run_id", "task_id"} <= manifest.run.keys()
    if in_gallery:
        run = {name: str(manifest.run[name]) for name in ("dag_id", "run_id")}
        page = gallery_urls.page_url(**run, kling_task_id=manifest.kling_task_id)
        parts.append(f"[In the gallery]({gallery_urls.absolute(path, page)})")
    for result in _results(manifest):
        label, plays = result.result_key.title, f", {result.duration:.1f} s" if result.kind == "video" else ""
        parts.append(f"**{label}**: {result.width} x {result.height}{plays}, {_code(store.uri(result.key))}")
        if in_gallery:
            shown, target = (gallery_urls.absolute(path, url) if url else "" for url in _urls(manifest, result))
            parts.append(f"[![{label}]({shown})]({target})" if shown else f"[Play]({target})")
    return "\n\n".join(parts)


def _urls(manifest: Manifest, result: ReviewedEntry) -> tuple[str, str]:
    """Return what is shown of a result, and where it leads; of a video without a poster nothing is shown."""
    # With the version of these bytes: where the gallery's own record of the run has others, it shows none.
    version = gallery_urls.file_version(result.sha256)
    generation = {name: manifest.run.get(name, -1) for name in ("dag_id", "run_id", "task_id", "map_index")}
    generation |= {"kling_task_id": manifest.kling_task_id, "index": result.index}
    if result.kind == "image":
        thumb, large = (gallery_urls.image_url(**generation, version=version, size=size) for size in _SIZES)
        return thumb, large
    video, poster = gallery_urls.video_url(**generation, version=version), result.poster
    if poster is None:
        return "", video
    return gallery_urls.poster_url(**generation, version=gallery_urls.file_version(poster.sha256), size="thumb"), video


def _fenced(text: str) -> str:
    """As a block of code, so that nothing of it is read as Markdown: a link or a picture in a prompt stays text."""
    fence = _backticks(text, at_least=3)
    return f"{fence}text\n{text}\n{fence}"


def _code(value: Any) -> str:
    """As code within a line; nothing of what is blank."""
    text = " ".join(str(value).split())
    if not text:
        return ""
    fence, space = _backticks(text, at_least=1), " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _backticks(text: str, *, at_least: int) -> str:
    """More of them than there are anywhere in a row."""
    return "`" * max(at_least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _title(manifest: Manifest) -> str:
    return str(manifest.request.get("prompt") or f"Kling task {manifest.kling_task_id}")


def _results(manifest: Manifest) -> tuple[ReviewedEntry, ...]:
    from airflow_kling.archive.verdict import reviewed_results

    return reviewed_results(manifest)


def _question(manifest: Manifest) -> str:
    return _QUESTION.format("videos" if manifest.videos and not manifest.images else "images")


def _labels(manifest: Manifest) -> dict[str, int]:
    return {result.result_key.title: result.index for result in _results(manifest)}
