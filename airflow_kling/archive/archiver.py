"""Archives a finished task: its images and a manifest go into a store. Doing it again repairs only what is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_kling.api.routes import find_route
from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.documents import is_stored, read_manifest, write_document
from airflow_kling.archive.result_archiver import DownloadResult, ResultArchiver, Refresh, stored_aside
from airflow_kling.archive.manifest import Archive, Entry, Manifest, ManifestImage, UnverifiedFile, build_manifest
from airflow_kling.archive.results import results_by_key
from airflow_kling.exceptions import KlingError, KlingImageError
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import check_task_id, image_key, manifest_key

log = logging.getLogger(__name__)

PARALLEL = 4  # images of a task at once; each holds one temporary file and a piece of it in memory
ROUNDS = 5  # that two runs which archive one task at once may take to agree


def archive_task(
    task: KlingTask,
    *,
    store: Store,
    download: DownloadResult,
    refresh: Refresh,
    request: Mapping[str, Any],
    run: Mapping[str, Any],
    accept_unverified: bool = False,
) -> Archive:
    """Archive every image of a finished task.

    :param task: the finished task.
    :param refresh: called at most once for each image, when its URL has expired or its download broke off.
    :param request: the request record, for the manifest; empty where it is not known.
    :param run: the Airflow run, for the manifest; see :func:`airflow_kling.archive.manifest.build_manifest`.
    :param accept_unverified: take results that arrived whole and cannot be verified; they stay aside.
    :return: the manifest, as it is in the store now, and where.
    :raises KlingNotFinishedError: the task has not succeeded, or its images are still to come.
    :raises KlingError: its indexes make no sense, or its route is not known.
    :raises KlingDownloadError: an image could not be fetched; those before it stay in the store for the next try.
    :raises KlingImageError: a result cannot be verified; the manifest is written, and names where it is kept.
    """
    kling_task_id = check_task_id(task.kling_task_id)
    results = results_by_key(task)
    find_route(task.route)  # the manifest needs it; an unknown one is refused before anything is fetched
    store.remove_leftovers(kling_task_id)
    present = store.keys(kling_task_id)
    previous = _previous(store, kling_task_id) if manifest_key(kling_task_id) in present else None
    known = {} if previous is None else previous.entries
    aside = stored_aside(store, known)
    kept = {index: entry for index, entry in _kept(store, known, aside, accept_unverified).items() if index in results}
    uri = store.uri(manifest_key(kling_task_id))
    if previous is not None and kept == known and known.keys() == results.keys():
        log.info("Kling task %s is archived already: %s", kling_task_id, uri)
        return Archive(previous, uri)
    archiver = ResultArchiver(kling_task_id, store, download, refresh, results, aside)
    # What a manifest names is replaced when it is broken, never adopted: its bytes are not those of the manifest.
    adoptable = {index: () if index in known else present for index in results}
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="kling-archive") as pool:
        found = pool.map(lambda index: kept.get(index) or archiver.archive(index, adoptable[index]), sorted(results))
        entries = [_accepted(entry, accept_unverified) for entry in found]
    _remove_variants(store, kling_task_id, entries, present)
    archive = _write(
        store,
        lambda entries: build_manifest(task, entries, request=request, run=run),
        entries,
        lambda index: _accepted(archiver.archive(index, store.keys(kling_task_id)), accept_unverified),
    )
    for image in archive.manifest.images:
        archiver.remove_aside(image.index)
    _report(archive, retryable=not archiver.hopeless)
    return archive


def _previous(store: Store, kling_task_id: str) -> Manifest | None:
    manifest = read_manifest(store, kling_task_id)
    if manifest is None:
        uri = store.uri(manifest_key(kling_task_id))
        log.warning("%s is not a manifest of Kling task %s; it is written anew", uri, kling_task_id)
    return manifest


def _kept(
    store: Store, known: Mapping[int, Entry], aside: Mapping[int, UnverifiedFile], accept_unverified: bool
) -> dict[int, Entry]:
    """Return what need not be fetched: images that are as the manifest says, and what was or is accepted."""
    images: dict[int, Entry] = {
        index: entry for index, entry in known.items() if isinstance(entry, ManifestImage) and is_stored(store, entry)
    }
    accepted = {index: _accepted(entry, accept_unverified) for index, entry in aside.items()}
    return images | {index: entry for index, entry in accepted.items() if not _is_open(entry)}


def _accepted(entry: Entry, accept_unverified: bool) -> Entry:
    if isinstance(entry, UnverifiedFile) and accept_unverified:
        return entry.model_copy(update={"accepted": True})
    return entry


def _is_open(entry: Entry) -> bool:
    return isinstance(entry, UnverifiedFile) and not entry.accepted


def _write(
    store: Store,
    build: Callable[[Iterable[Entry]], Manifest],
    entries: Iterable[Entry],
    archive_again: Callable[[int], Entry],
) -> Archive:
    """Write the manifest, then compare it with what lies there: another run may have written at the same time.

    Each run writes its images before its manifest, and looks after it. So the last one to look has seen everything, and
    its manifest names bytes that are there.
    """
    entries = list(entries)
    kling_task_id = build(entries).kling_task_id
    for _ in range(ROUNDS):
        uri = write_document(store, manifest_key(kling_task_id), build(entries))
        lying = read_manifest(store, kling_task_id)
        if lying is not None and all(is_stored(store, entry) for entry in lying.entries.values()):
            return Archive(lying, uri)
        log.info("Another run has archived Kling task %s at the same time; comparing again", kling_task_id)
        entries = [entry if is_stored(store, entry) else archive_again(entry.index) for entry in entries]
    error = KlingError(
        f"The archive of Kling task {kling_task_id} changes while it is written; let one run at a time archive it.",
        kling_task_id=kling_task_id,
    )
    error.retryable = True
    raise error


def _report(archive: Archive, *, retryable: bool) -> None:
    """Log what there is.

    :raises KlingImageError: some of it could not be verified, and nobody has accepted that.
    """
    manifest = archive.manifest
    for warning in manifest.warnings:
        log.warning("Kling task %s: %s", manifest.kling_task_id, warning)
    log.info("Archived %d images of Kling task %s: %s", len(manifest.images), manifest.kling_task_id, archive.uri)
    left = [file for file in manifest.unverified if _is_open(file)]
    if left:
        raise KlingImageError(
            f"Image {left[0].index} of Kling task {manifest.kling_task_id} cannot be verified; it is paid for, and "
            f"kept as {', '.join(file.uri for file in left)}: look at it, then run the task again, or set "
            f"accept_unverified=True to take it as it is. {left[0].reason}",
            url=left[0].source_url,
            retryable=retryable,
            kling_task_id=manifest.kling_task_id,
        )


def _remove_variants(store: Store, kling_task_id: str, entries: Iterable[Entry], present: Collection[str]) -> None:
    """Remove the same index under another extension, which an interrupted run may have left."""
    for entry in entries:
        variants = {image_key(kling_task_id, entry.index, extension) for extension in EXTENSIONS} - {entry.key}
        for key in variants.intersection(present):
            store.remove(key)
