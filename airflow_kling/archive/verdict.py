"""Describes what a person decided about the results of an archive, and what became of them: ``review.json``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from airflow_kling.archive.manifest import Manifest, ManifestImage, ManifestVideo, Poster
from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.base import Store

ReviewedEntry = ManifestImage | ManifestVideo


@dataclass(frozen=True)
class Verdict:
    """What a person has decided.

    :param approved: indexes of the results that may be published; all others are rejected.
    :param by: ``{"id", "name"}`` of the person, None when nobody answered in time.
    :param at: when, ISO 8601.
    """

    approved: frozenset[int]
    by: Mapping[str, str] | None
    at: str


class Copy(BaseModel):
    """A published copy of an image or a video.

    :param destination: where it was published, with the connection that the address names.
    :param uri: of the copy.
    """

    model_config = ConfigDict(frozen=True)

    destination: str
    uri: str


class ReviewedResult(BaseModel):
    """The verdict on one image or video.

    :param uri: where it is in the archive.
    :param published: where its copy is; None if it was rejected.
    :param copies: every copy that verdicts have published and none has removed, wherever it is.
    """

    kind: Literal["image", "video"] = "image"
    index: int
    uri: str
    sha256: str
    verdict: Literal["approved", "rejected"]
    published: str | None
    copies: tuple[Copy, ...] = ()


class Review(BaseModel):
    """What ``review.json`` says.

    :param by: as in :class:`Verdict`.
    :param at: as in :class:`Verdict`.
    :param run: the Airflow run that published the results.
    :param videos: left out where there are none.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_name: Literal["airflow-provider-kling/review"] = Field("airflow-provider-kling/review", alias="schema")
    version: Literal[1] = 1
    kling_task_id: str
    by: dict[str, Any] | None
    at: str
    run: dict[str, Any]
    images: tuple[ReviewedResult, ...]
    videos: tuple[ReviewedResult, ...] = ()

    @property
    def results(self) -> tuple[ReviewedResult, ...]:
        """All results."""
        return (*self.images, *self.videos)

    @model_serializer(mode="wrap")
    def _leave_out_no_videos(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value or name != "videos"}


def reviewed_results(manifest: Manifest) -> tuple[ReviewedEntry, ...]:
    """Return the images and videos of an archive, which a choice names by their index.

    :raises KlingInputError: an image and a video have the same index, so that a choice would not say which is meant.
    """
    results: tuple[ReviewedEntry, ...] = (*manifest.images, *manifest.videos)
    if len({result.index for result in results}) < len(results):
        raise KlingInputError(
            f"Kling task {manifest.kling_task_id} has an image and a video with the same index; a choice by index "
            "would not say which of them is meant, so nothing was done."
        )
    return results


def files_of(result: ReviewedEntry) -> tuple[ReviewedEntry | Poster, ...]:
    """Return the files that are published of a result: itself, and the poster of a video."""
    poster = result.poster if isinstance(result, ManifestVideo) else None
    return (result,) if poster is None else (result, poster)


def parse_review(data: bytes | None) -> Review | None:
    """Read an earlier verdict; None where there is none, or a damaged one."""
    try:
        return Review.model_validate_json(data) if data else None
    except ValidationError:
        return None


def build_review(
    manifest: Manifest,
    verdict: Verdict,
    target: Store,
    copies: Mapping[int, tuple[Copy, ...]],
    run: Mapping[str, Any],
) -> Review:
    """Say of each result what was decided, and where it is published.

    :param copies: by index, every copy that is left.
    """
    reviewed = [
        ReviewedResult(
            kind=result.kind,
            index=result.index,
            uri=result.uri,
            sha256=result.sha256,
            verdict="approved" if result.index in verdict.approved else "rejected",
            published=target.uri(result.key) if result.index in verdict.approved else None,
            copies=copies.get(result.index, ()),
        )
        for result in reviewed_results(manifest)
    ]
    return Review(
        kling_task_id=manifest.kling_task_id,
        by=dict(verdict.by) if verdict.by else None,
        at=verdict.at,
        run=dict(run),
        images=tuple(one for one in reviewed if one.kind == "image"),
        videos=tuple(one for one in reviewed if one.kind == "video"),
    )
