"""From an archive and a person's verdict to published copies; doing it again changes nothing.

Copies lie under the same names as in the archive. ``review.json`` beside the manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from airflow_kling.archive.archiver import is_stored
from airflow_kling.archive.manifest import MAX_BYTES, Archive, Manifest, ManifestImage, parse_manifest
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.storage.keys import manifest_key, review_key, split_manifest_uri
from airflow_kling.storage.open import FILE_SCHEMES, Store, open_store

log = logging.getLogger(__name__)

SCHEMA: Final = "airflow-provider-kling/review"
VERSION: Final = 1
APPROVED, REJECTED = "approved", "rejected"


@dataclass(frozen=True)
class Verdict:
    """What a person said.

    :param approved: indexes of the images that may be published; all others are rejected.
    :param by: ``{"id", "name"}`` of the person, None when nobody answered in time.
    :param at: when, ISO 8601.
    """

    approved: frozenset[int]
    by: Mapping[str, str] | None
    at: str


class _ReviewedImage(BaseModel):
    published: str | None = None


class _Review(BaseModel):
    images: tuple[_ReviewedImage, ...] = ()


def open_archive(
    manifest_uri: str, *, aws_conn_id: str | None = "aws_default", storage_conn_id: str | None = None
) -> tuple[Archive, Store]:
    """Read a manifest; return it with the store that it and its images are in.

    :param aws_conn_id: for ``s3://``.
    :param storage_conn_id: for every other object storage, whose own default is taken without it; not for directories.
    :raises KlingInputError: not the address of a manifest.
    :raises KlingError: there is none, or it is damaged.
    """
    destination, kling_task_id = split_manifest_uri(manifest_uri)
    scheme, _, place = destination.partition("://")
    if storage_conn_id and scheme not in ("s3", *FILE_SCHEMES):
        destination = f"{scheme}://{storage_conn_id}@{place}"
    store = open_store(destination, aws_conn_id=aws_conn_id)
    data = _read(store, manifest_key(kling_task_id))
    if data is None:
        raise KlingError(f"There is no manifest {manifest_uri}; archive Kling task {kling_task_id} first.")
    manifest = parse_manifest(data)
    if manifest is None or manifest.kling_task_id != kling_task_id:
        raise KlingError(f"{manifest_uri} is not a manifest of Kling task {kling_task_id}; archive it again.")
    return Archive(manifest, manifest_uri), store


def publish(
    archive: Archive, verdict: Verdict, *, source: Store, target: Store, run: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Copy the approved images, verified, and note the verdict on each beside the manifest.

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
    earlier = _read(source, review_key(manifest.kling_task_id))
    for image in _taken_back(manifest, verdict, earlier, target):
        target.remove(image.key)
        log.info("Removed %s, which is no longer approved", target.uri(image.key))
    for image in manifest.images:
        if image.index in verdict.approved:
            _copy(image, source, target)
    review = _write_review(manifest, verdict, earlier, source, target, run or {})
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
    # By what lies there, not by address: one place has many names, and publishing never writes a manifest.
    key = manifest_key(manifest.kling_task_id)
    if target.stat(key) is not None:
        raise KlingInputError(
            f"{target.uri(key)} exists, so the destination is an archive of this Kling task; nothing was published, "
            "publish to another destination."
        )


def _taken_back(manifest: Manifest, verdict: Verdict, earlier: bytes | None, target: Store) -> list[ManifestImage]:
    """The rejected images that lie in the target because an earlier verdict has published them there."""
    rejected = (image for image in manifest.images if image.index not in verdict.approved)
    present = [image for image in rejected if target.stat(image.key) is not None]
    ours = _published(earlier) if present else frozenset()
    for image in present:
        if (uri := target.uri(image.key)) not in ours:
            raise KlingInputError(
                f"Image {image.index} was rejected, but {uri} is there and no earlier verdict has published it; "
                "nothing was done, remove it yourself or publish to another destination."
            )
    return present


def _published(review: bytes | None) -> frozenset[str]:
    """Where the copies are that a ``review.json`` names; a damaged one names none."""
    try:
        images = _Review.model_validate_json(review or b"{}").images
    except ValidationError:
        return frozenset()
    return frozenset(image.published for image in images if image.published)


def _read(store: Store, key: str) -> bytes | None:
    """A JSON object beside the images, None if there is none; what is too large for one is as good as empty."""
    stored, data = store.stat(key), BytesIO()
    if stored is None or (stored.bytes <= MAX_BYTES and not store.read_into(key, data)):
        return None
    return data.getvalue()


def _copy(image: ManifestImage, source: Store, target: Store) -> None:
    if is_stored(target, image):
        return
    with tempfile.TemporaryFile(prefix="kling-") as file:
        found = source.read_into(image.key, file)
        size = file.tell()
        file.seek(0)
        if not found or size != image.bytes or hashlib.file_digest(file, "sha256").hexdigest() != image.sha256:
            raise KlingError(
                f"{source.uri(image.key)} is not what the manifest says: it is missing or has changed. Archive the "
                "task again, which repairs it; it was not published."
            )
        uri = target.write_file(image.key, file, content_type=image.content_type, sha256=image.sha256)
    log.info("Published %s", uri)


def _write_review(
    manifest: Manifest,
    verdict: Verdict,
    earlier: bytes | None,
    source: Store,
    target: Store,
    run: Mapping[str, Any],
) -> str:
    """Write the verdict, unless the same is there already."""
    key = review_key(manifest.kling_task_id)
    said = {
        "schema": SCHEMA,
        "version": VERSION,
        "kling_task_id": manifest.kling_task_id,
        "by": verdict.by,
        "at": verdict.at,
        "run": dict(run),
        "images": [
            {
                "index": image.index,
                "uri": image.uri,
                "sha256": image.sha256,
                "verdict": APPROVED if image.index in verdict.approved else REJECTED,
                "published": target.uri(image.key) if image.index in verdict.approved else None,
            }
            for image in manifest.images
        ],
    }
    data = (json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    if earlier == data:
        return source.uri(key)
    return source.write_file(
        key, BytesIO(data), content_type="application/json", sha256=hashlib.sha256(data).hexdigest()
    )
