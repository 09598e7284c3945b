"""Publishes the images of an archive that a person has approved; doing it again changes nothing.

Copies lie under the same names as in the archive. ``review.json`` beside the manifest is written last.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_kling.archive.documents import is_stored, read_document, write_document
from airflow_kling.archive.manifest import Archive, Manifest, ManifestImage, parse_manifest
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.storage.base import Store
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.keys import manifest_key, review_key, split_manifest_uri
from airflow_kling.storage.open import AWS_CONN_ID, open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What a person has decided.

    :param approved: indexes of the images that may be published; all others are rejected.
    :param by: ``{"id", "name"}`` of the person, None when nobody answered in time.
    :param at: when, ISO 8601.
    """

    approved: frozenset[int]
    by: Mapping[str, str] | None
    at: str


class ReviewedImage(BaseModel):
    """The verdict on one image.

    :param uri: where it is in the archive.
    :param published: where its copy is; None if it was rejected.
    """

    index: int
    uri: str
    sha256: str
    verdict: Literal["approved", "rejected"]
    published: str | None


class Review(BaseModel):
    """What ``review.json`` says.

    :param by: as in :class:`Verdict`.
    :param at: as in :class:`Verdict`.
    :param run: the Airflow run that published the images.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_name: Literal["airflow-provider-kling/review"] = Field("airflow-provider-kling/review", alias="schema")
    version: Literal[1] = 1
    kling_task_id: str
    by: dict[str, Any] | None
    at: str
    run: dict[str, Any]
    images: tuple[ReviewedImage, ...]


def open_archive(
    manifest_uri: str, *, aws_conn_id: str | None = AWS_CONN_ID, storage_conn_id: str | None = None
) -> tuple[Archive, Store]:
    """Read a manifest; return it with the store that has it and its images.

    :param aws_conn_id: for ``s3://``.
    :param storage_conn_id: for every other object storage, whose own default is taken without it; not for directories.
    :raises KlingInputError: not the address of a manifest.
    :raises KlingError: there is none, or it is damaged.
    """
    destination, kling_task_id = split_manifest_uri(manifest_uri)
    store = open_store(Destination.parse(destination).through(storage_conn_id), aws_conn_id=aws_conn_id)
    data = read_document(store, manifest_key(kling_task_id))
    if data is None:
        raise KlingError(f"There is no manifest {manifest_uri}; archive Kling task {kling_task_id} first.")
    manifest = parse_manifest(data)
    if manifest is None or manifest.kling_task_id != kling_task_id:
        raise KlingError(f"{manifest_uri} is not a manifest of Kling task {kling_task_id}; archive it again.")
    return Archive(manifest, manifest_uri), store


def publish(
    archive: Archive, verdict: Verdict, *, source: Store, target: Store, run: Mapping[str, Any]
) -> dict[str, Any]:
    """Copy the approved images, verified, and write the verdict on each beside the manifest.

    An image that was published before and is rejected now is removed from the target first.

    :param source: where the archive is.
    :param target: where the copies go.
    :param run: the Airflow run, for ``review.json``.
    :return: ``{"review": uri, "manifest": uri, "kling_task_id", "published": [{"index", "uri", "sha256", "bytes",
        "width", "height", "content_type"}], "rejected": [index]}``.
    :raises KlingInputError: the target is an archive of this task, or has a rejected image that no earlier verdict has
        published there, or an image was approved that is not in the archive; nothing is done.
    :raises KlingError: the bytes in the archive are no longer those of the manifest; nothing of them is published.
    """
    manifest = archive.manifest
    _check(manifest, verdict, target)
    earlier = _parse_review(read_document(source, review_key(manifest.kling_task_id)))
    for image in _images_to_remove(manifest, verdict, earlier, target):
        target.remove(image.key)
        log.info("Removed %s, which is no longer approved", target.uri(image.key))
    for image in manifest.images:
        if image.index in verdict.approved:
            _copy(image, source, target)
    review = _write_review(_build_review(manifest, verdict, target, run), earlier, source)
    published = [image for image in manifest.images if image.index in verdict.approved]
    return {
        "review": review,
        "manifest": archive.uri,
        "kling_task_id": manifest.kling_task_id,
        "published": [
            {**image.model_dump(exclude={"key", "source_url"}), "uri": target.uri(image.key)} for image in published
        ],
        "rejected": [image.index for image in manifest.images if image.index not in verdict.approved],
    }


def _check(manifest: Manifest, verdict: Verdict, target: Store) -> None:
    if odd := verdict.approved - {image.index for image in manifest.images}:
        raise KlingInputError(f"Image {min(odd)} was approved, Kling task {manifest.kling_task_id} has no such image.")
    # By what is there and not by address: one place has many names, and publishing never writes a manifest.
    key = manifest_key(manifest.kling_task_id)
    if target.stat(key) is not None:
        raise KlingInputError(
            f"{target.uri(key)} exists, so the destination is an archive of this Kling task; nothing was published, "
            "publish to another destination."
        )


def _images_to_remove(
    manifest: Manifest, verdict: Verdict, earlier: Review | None, target: Store
) -> list[ManifestImage]:
    """Return the rejected images that are in the target because an earlier verdict has published them there."""
    rejected = (image for image in manifest.images if image.index not in verdict.approved)
    present = [image for image in rejected if target.stat(image.key) is not None]
    ours = {image.published for image in earlier.images} if earlier else set()
    for image in present:
        if (uri := target.uri(image.key)) not in ours:
            raise KlingInputError(
                f"Image {image.index} was rejected, but {uri} is there and no earlier verdict has published it; "
                "nothing was done, remove it yourself or publish to another destination."
            )
    return present


def _parse_review(data: bytes | None) -> Review | None:
    """Read an earlier verdict; None where there is none, or a damaged one."""
    try:
        return Review.model_validate_json(data) if data else None
    except ValidationError:
        return None


def _copy(image: ManifestImage, source: Store, target: Store) -> None:
    if is_stored(target, image):
        return
    with tempfile.TemporaryFile(prefix="kling-") as file:
        found = source.download(image.key, file)
        size = file.tell()
        file.seek(0)
        if not found or size != image.bytes or hashlib.file_digest(file, "sha256").hexdigest() != image.sha256:
            raise KlingError(
                f"{source.uri(image.key)} is not what the manifest says: it is missing or has changed. Archive the "
                "task again, which repairs it; it was not published."
            )
        uri = target.put(image.key, file, content_type=image.content_type, sha256=image.sha256)
    log.info("Published %s", uri)


def _build_review(manifest: Manifest, verdict: Verdict, target: Store, run: Mapping[str, Any]) -> Review:
    return Review(
        kling_task_id=manifest.kling_task_id,
        by=dict(verdict.by) if verdict.by else None,
        at=verdict.at,
        run=dict(run),
        images=tuple(
            ReviewedImage(
                index=image.index,
                uri=image.uri,
                sha256=image.sha256,
                verdict="approved" if image.index in verdict.approved else "rejected",
                published=target.uri(image.key) if image.index in verdict.approved else None,
            )
            for image in manifest.images
        ),
    )


def _write_review(review: Review, earlier: Review | None, store: Store) -> str:
    """Write the verdict, unless the same is there already, whichever run has written it."""
    key = review_key(review.kling_task_id)
    if earlier is not None and earlier == review.model_copy(update={"run": earlier.run}):
        return store.uri(key)
    return write_document(store, key, review)
