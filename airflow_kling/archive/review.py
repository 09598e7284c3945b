"""Publishes the images and videos of an archive that a person has approved; doing it again changes nothing.

Copies lie under the same names as in the archive, and the poster of a video beside it. ``review.json`` beside the
manifest is written last.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from airflow_kling.archive.documents import is_stored, read_document, read_manifest, write_document
from airflow_kling.archive.manifest import Archive, Manifest, ManifestVideo, Poster
from airflow_kling.archive.summary import describe_image, describe_video
from airflow_kling.archive.verdict import (
    Copy,
    Review,
    ReviewedEntry,
    Verdict,
    build_review,
    files_of,
    parse_review,
    reviewed_results,
)
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.storage.base import Store
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.keys import manifest_key, review_key, split_manifest_uri
from airflow_kling.storage.open import AWS_CONN_ID, open_store

log = logging.getLogger(__name__)


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
    """Copy the approved results, verified, and write the verdict on each beside the manifest.

    A result that was published before and is rejected now is removed first, wherever earlier verdicts published it.

    :param source: where the archive is.
    :param destination: where the copies go.
    :param open_target: opens this destination, or an earlier one.
    :param run: the Airflow run, for ``review.json``.
    :return: ``{"review": uri, "manifest": uri, "kling_task_id", "published": [{"index", "uri", "sha256", ...}],
        "rejected": [index]}``, where what was published is described as an archive task does it.
    :raises KlingInputError: the target is an archive of this task, or has a rejected result that no earlier verdict has
        published there, or a result was approved that is not in the archive; nothing is done.
    :raises KlingError: the bytes in the archive are no longer those of the manifest, and nothing of them is published;
        or a copy elsewhere could not be removed, and all else is done.
    """
    manifest = archive.manifest
    target = open_target(destination)
    _check(manifest, verdict, target)
    earlier = parse_review(read_document(source, review_key(manifest.kling_task_id)))
    copies = {result.index: result.copies for result in earlier.results} if earlier else {}
    _check_rejected(manifest, verdict, copies, target)
    copies, failures = _take_down(manifest, verdict, copies, open_target)
    results = reviewed_results(manifest)
    for result in results:
        if result.index in verdict.approved:
            for file in files_of(result):
                _copy(file, source, target)
            copy = Copy(destination=destination, uri=target.uri(result.key))
            others = (other for other in copies.get(result.index, ()) if other.uri != copy.uri)
            copies[result.index] = (*others, copy)
    review = _write_review(build_review(manifest, verdict, target, copies, run), earlier, source)
    if failures:
        raise KlingError(" ".join(failures))
    return {
        "review": review,
        "manifest": archive.uri,
        "kling_task_id": manifest.kling_task_id,
        "published": [_describe(result, target) for result in results if result.index in verdict.approved],
        "rejected": [result.index for result in results if result.index not in verdict.approved],
    }


def _describe(result: ReviewedEntry, target: Store) -> dict[str, Any]:
    described = describe_video(result) if isinstance(result, ManifestVideo) else describe_image(result)
    described["uri"] = target.uri(result.key)
    if isinstance(result, ManifestVideo) and result.poster:
        described["poster"] = {**described["poster"], "uri": target.uri(result.poster.key)}
    return described


def _check(manifest: Manifest, verdict: Verdict, target: Store) -> None:
    if odd := verdict.approved - {result.index for result in reviewed_results(manifest)}:
        kind = "video" if manifest.videos and not manifest.images else "image"
        raise KlingInputError(
            f"{kind.title()} {min(odd)} was approved, Kling task {manifest.kling_task_id} has no such {kind}."
        )
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
    """Refuse a target that has a rejected result which no earlier verdict has published there."""
    for result in reviewed_results(manifest):
        published = {copy.uri for copy in copies.get(result.index, ())}
        if result.index in verdict.approved or target.uri(result.key) in published:
            continue
        for file in files_of(result):
            if target.stat(file.key) is not None:
                raise KlingInputError(
                    f"{result.result_key.title} was rejected, but {target.uri(file.key)} is there and no earlier "
                    "verdict has published it; nothing was done, remove it yourself or publish to another destination."
                )


def _take_down(
    manifest: Manifest,
    verdict: Verdict,
    copies: Mapping[int, tuple[Copy, ...]],
    open_target: Callable[[str], Store],
) -> tuple[dict[int, tuple[Copy, ...]], list[str]]:
    """Remove every copy of the rejected results.

    :return: the copies that are left, and a sentence for each that should not be.
    """
    left = dict(copies)
    failures = []
    for result in reviewed_results(manifest):
        if result.index in verdict.approved:
            continue
        kept = []
        for copy in copies.get(result.index, ()):
            try:
                place = open_target(copy.destination)
                for file in files_of(result):
                    place.remove(file.key)
                log.info("Removed %s, which is no longer approved", copy.uri)
            except Exception as error:  # each storage library has errors of its own
                kept.append(copy)
                failures.append(
                    f"{result.result_key.title} was rejected, but its copy {copy.uri} could not be removed "
                    f"({type(error).__name__}); remove it yourself, or mend the access to it and run the task again."
                )
        left[result.index] = tuple(kept)
    return left, failures


def _copy(entry: ReviewedEntry | Poster, source: Store, target: Store) -> None:
    if is_stored(target, entry):
        return
    with tempfile.TemporaryFile(prefix="kling-") as file:
        found = source.download(entry.key, file)
        size = file.tell()
        file.seek(0)
        if not found or size != entry.bytes or hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise KlingError(
                f"{source.uri(entry.key)} is not what the manifest says: it is missing or has changed. Archive the "
                "task again, which repairs it; it was not published."
            )
        uri = target.put(entry.key, file, content_type=entry.content_type, sha256=entry.sha256)
    log.info("Published %s", uri)


def _write_review(review: Review, earlier: Review | None, store: Store) -> str:
    """Write the verdict, unless the same is there already, whichever run has written it."""
    key = review_key(review.kling_task_id)
    if earlier is not None and earlier == review.model_copy(update={"run": earlier.run}):
        return store.uri(key)
    return write_document(store, key, review)
