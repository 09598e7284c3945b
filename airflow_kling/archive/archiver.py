"""Archives a finished task: its results and a manifest go into a store. Doing it again repairs only what is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_kling.api.routes import find_route
from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.documents import is_stored, read_manifest, write_document
from airflow_kling.archive.manifest import Archive, Entry, Manifest, ManifestVideo, UnverifiedFile, build_manifest
from airflow_kling.archive.result_archiver import DownloadResult, Refresh, ResultArchiver, stored_aside
from airflow_kling.archive.results import ResultKey, results_by_key
from airflow_kling.exceptions import KlingError, KlingImageError
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import check_task_id, manifest_key, poster_key, result_key

log = logging.getLogger(__name__)

PARALLEL = 4  # results of a task at once; each holds one temporary file and a piece of it in memory
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
    """Archive every result of a finished task.

    :param task: the finished task.
    :param refresh: called at most once for each result, when its URL has expired or its download broke off.
    :param request: the request record, for the manifest; empty where it is not known.
    :param run: the Airflow run, for the manifest; see :func:`airflow_kling.archive.manifest.build_manifest`.
    :param accept_unverified: take results that arrived whole and cannot be verified; they stay aside.
    :return: the manifest, as it is in the store now, and where.
    :raises KlingNotFinishedError: the task has not succeeded, or its results are still to come.
    :raises KlingError: its indexes make no sense, or its route is not known.
    :raises KlingDownloadError: a result could not be fetched; those before it stay in the store for the next try.
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
    archiver = ResultArchiver(kling_task_id, store, download, refresh, results, aside)
    kept = {
        key: archiver.restore_poster(entry)
        for key, entry in _kept(store, known, aside, accept_unverified).items()
        if key in results
    }
    uri = store.uri(manifest_key(kling_task_id))
    if previous is not None and kept == known and known.keys() == results.keys():
        log.info("Kling task %s is archived already: %s", kling_task_id, uri)
        return Archive(previous, uri)
    # What a manifest names is replaced when it is broken, never adopted: its bytes are not those of the manifest.
    adoptable = {key: () if key in known else present for key in results}
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="kling-archive") as pool:
        found = pool.map(lambda key: kept.get(key) or archiver.archive(key, adoptable[key]), sorted(results))
        entries = [_accepted(entry, accept_unverified) for entry in found]
    _remove_variants(store, kling_task_id, entries, present)
    archive = _write(
        store,
        lambda entries: build_manifest(task, entries, request=request, run=run),
        entries,
        lambda key: _accepted(archiver.archive(key, store.keys(kling_task_id)), accept_unverified),
    )
    for entry in (*archive.manifest.images, *archive.manifest.videos):
        archiver.remove_aside(entry.result_key)
    _report(archive, retryable=not archiver.hopeless)
    return archive


def _previous(store: Store, kling_task_id: str) -> Manifest | None:
    manifest = read_manifest(store, kling_task_id)
    if manifest is None:
        uri = store.uri(manifest_key(kling_task_id))
        log.warning("%s is not a manifest of Kling task %s; it is written anew", uri, kling_task_id)
    return manifest


def _kept(
    store: Store,
    known: Mapping[ResultKey, Entry],
    aside: Mapping[ResultKey, UnverifiedFile],
    accept_unverified: bool,
) -> dict[ResultKey, Entry]:
    """Return what need not be fetched: results that are as the manifest says, and what was or is accepted."""
    verified: dict[ResultKey, Entry] = {
        key: entry for key, entry in known.items() if not isinstance(entry, UnverifiedFile) and is_stored(store, entry)
    }
    accepted = {key: _accepted(entry, accept_unverified) for key, entry in aside.items()}
    return verified | {key: entry for key, entry in accepted.items() if not _is_open(entry)}


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
    archive_again: Callable[[ResultKey], Entry],
) -> Archive:
    """Write the manifest, then compare it with what lies there: another run may have written at the same time.

    Each run writes its results before its manifest, and looks after it. So the last one to look has seen everything,
    and its manifest names bytes that are there.
    """
    entries = list(entries)
    kling_task_id = build(entries).kling_task_id
    for _ in range(ROUNDS):
        uri = write_document(store, manifest_key(kling_task_id), build(entries))
        lying = read_manifest(store, kling_task_id)
        if lying is not None and all(is_stored(store, entry) for entry in lying.entries.values()):
            return Archive(lying, uri)
        log.info("Another run has archived Kling task %s at the same time; comparing again", kling_task_id)
        entries = [entry if is_stored(store, entry) else archive_again(entry.result_key) for entry in entries]
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
    log.info("Archived %s of Kling task %s: %s", _count(manifest), manifest.kling_task_id, archive.uri)
    left = [file for file in manifest.unverified if _is_open(file)]
    if left:
        raise KlingImageError(
            f"{left[0].result_key.title} of Kling task {manifest.kling_task_id} cannot be verified; it is paid for, "
            f"and kept as {', '.join(file.uri for file in left)}: look at it, then run the task again, or set "
            f"accept_unverified=True to take it as it is. {left[0].reason}",
            url=left[0].source_url,
            retryable=retryable,
            kling_task_id=manifest.kling_task_id,
        )


def _count(manifest: Manifest) -> str:
    """Name how many results there are: ``2 images``, ``1 videos``."""
    counts = {"images": len(manifest.images), "videos": len(manifest.videos)}
    return " and ".join(f"{count} {name}" for name, count in counts.items() if count) or "0 images"


def _remove_variants(store: Store, kling_task_id: str, entries: Iterable[Entry], present: Collection[str]) -> None:
    """Remove the same result under another extension, and a poster of none, which an interrupted run may have left."""
    for entry in entries:
        variants = {
            result_key(kling_task_id, entry.index, extension, kind=entry.kind)
            for extension in EXTENSIONS.get(entry.kind, ())
        }
        if entry.kind == "video":
            variants.add(poster_key(kling_task_id, entry.index))
        poster = entry.poster if isinstance(entry, ManifestVideo) else None
        for key in (variants - {entry.key, poster and poster.key}).intersection(present):
            store.remove(key)
