"""Publishes the images of an archive that a person has approved; doing it again changes nothing.

Copies lie under the same names as in the archive. ``review.json`` beside the manifest is written last.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_kling.archive.documents import is_stored, read_document, read_manifest, write_document
from airflow_kling.archive.manifest import Archive, Manifest, ManifestImage
from airflow_kling.archive.summary import describe_image
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


class Copy(BaseModel):
    """A published copy of an image.

    :param destination: where it was published, with the connection that the address names.
    :param uri: of the copy.
    """

    model_config = ConfigDict(frozen=True)

    destination: str
    uri: str


class ReviewedImage(BaseModel):
    """The verdict on one image.

    :param uri: where it is in the archive.
    :param published: where its copy is; None if it was rejected.
    :param copies: every copy that verdicts have published and none has removed, wherever it is.
    """

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
    manifest_uri: str,
    *,
    aws_conn_id: str | None = AWS_CONN_ID,
    storage_conn_id: str | None = None,
    extra_args: Mapping[str, Any] | None = None,
) -> tuple[Archive, Store]:
    """Read a manifest; return it with the store that has it and its images. Addresses are those of this store.

    :param aws_conn_id: for ``s3://``.
    :param storage_conn_id: for every other object storage, whose own default is taken without it; not for directories.
    :param extra_args: for ``s3://``: what reading needs, such as the key of SSE-C.
    :raises KlingInputError: not the address of a manifest.
    :raises KlingError: there is none, or it is damaged.
    """
    destination, kling_task_id = split_manifest_uri(manifest_uri)
    store = open_store(
        Destination.parse(destination).through(storage_conn_id), aws_conn_id=aws_conn_id, extra_args=extra_args
    )
    manifest = read_manifest(store, kling_task_id)
    if manifest is None:
        if store.stat(manifest_key(kling_task_id)) is None:
            raise KlingError(f"There is no manifest {manifest_uri}; archive Kling task {kling_task_id} first.")
        raise KlingError(f"{manifest_uri} is not a manifest of Kling task {kling_task_id}; archive it again.")
    return Archive(manifest, manifest_uri), store


def publish(
    archive: Archive,
    verdict: Verdict,
    *,
    source: Store,
    destination: str,
    open_target: Callable[[str], Store],
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """Copy the approved images, verified, and write the verdict on each beside the manifest.

    An image that was published before and is rejected now is removed first, wherever earlier verdicts published it.

    :param source: where the archive is.
    :param destination: where the copies go.
    :param open_target: opens this destination, or an earlier one.
    :param run: the Airflow run, for ``review.json``.
    :return: ``{"review": uri, "manifest": uri, "kling_task_id", "published": [{"index", "uri", "sha256", "bytes",
        "width", "height", "content_type"}], "rejected": [index]}``.
    :raises KlingInputError: the target is an archive of this task, or has a rejected image that no earlier verdict has
        published there, or an image was approved that is not in the archive; nothing is done.
    :raises KlingError: the bytes in the archive are no longer those of the manifest, and nothing of them is published;
        or a copy elsewhere could not be removed, and all else is done.
    """
    manifest = archive.manifest
    target = open_target(destination)
    _check(manifest, verdict, target)
    earlier = _parse_review(read_document(source, review_key(manifest.kling_task_id)))
    copies = {image.index: image.copies for image in earlier.images} if earlier else {}
    _check_rejected(manifest, verdict, copies, target)
    copies, failures = _take_down(manifest, verdict, copies, open_target)
    for image in manifest.images:
        if image.index in verdict.approved:
            _copy(image, source, target)
            copy = Copy(destination=destination, uri=target.uri(image.key))
            others = (other for other in copies.get(image.index, ()) if other.uri != copy.uri)
            copies[image.index] = (*others, copy)
    review = _write_review(_build_review(manifest, verdict, target, copies, run), earlier, source)
    if failures:
        raise KlingError(" ".join(failures))
    return {
        "review": review,
        "manifest": archive.uri,
        "kling_task_id": manifest.kling_task_id,
        "published": [
            {**describe_image(image), "uri": target.uri(image.key)}
            for image in manifest.images
            if image.index in verdict.approved
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


def _check_rejected(
    manifest: Manifest, verdict: Verdict, copies: Mapping[int, tuple[Copy, ...]], target: Store
) -> None:
    """Refuse a target that has a rejected image which no earlier verdict has published there."""
    for image in manifest.images:
        if image.index in verdict.approved or target.stat(image.key) is None:
            continue
        if (uri := target.uri(image.key)) not in {copy.uri for copy in copies.get(image.index, ())}:
            raise KlingInputError(
                f"Image {image.index} was rejected, but {uri} is there and no earlier verdict has published it; "
                "nothing was done, remove it yourself or publish to another destination."
            )


def _take_down(
    manifest: Manifest,
    verdict: Verdict,
    copies: Mapping[int, tuple[Copy, ...]],
    open_target: Callable[[str], Store],
) -> tuple[dict[int, tuple[Copy, ...]], list[str]]:
    """Remove every copy of the rejected images.

    :return: the copies that are left, and a sentence for each that should not be.
    """
    left = dict(copies)
    failures = []
    for image in manifest.images:
        if image.index in verdict.approved:
            continue
        kept = []
        for copy in copies.get(image.index, ()):
            try:
                open_target(copy.destination).remove(image.key)
                log.info("Removed %s, which is no longer approved", copy.uri)
            except Exception as error:  # each storage library has errors of its own
                kept.append(copy)
                failures.append(
                    f"Image {image.index} was rejected, but its copy {copy.uri} could not be removed "
                    f"({type(error).__name__}); remove it yourself, or mend the access to it and run the task again."
                )
        left[image.index] = tuple(kept)
    return left, failures


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


def _build_review(
    manifest: Manifest,
    verdict: Verdict,
    target: Store,
    copies: Mapping[int, tuple[Copy, ...]],
    run: Mapping[str, Any],
) -> Review:
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
                copies=copies.get(image.index, ()),
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
