"""Archives a finished task: its images and a manifest go into a store. Doing it again repairs only what is broken."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from airflow_kling.api.redact import redact_url
from airflow_kling.api.routes import find_route
from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.archive.documents import is_stored, read_document, write_document
from airflow_kling.archive.download import Download, DownloadLimits
from airflow_kling.archive.manifest import Archive, Manifest, ManifestImage, build_manifest, parse_manifest
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingImageError, KlingNotFinishedError
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.media.probe import probe
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import MAX_INDEX, check_task_id, image_key, manifest_key

log = logging.getLogger(__name__)

PARALLEL = 4  # images of a task at once; each holds one temporary file and a piece of it in memory

#: Fetches a URL into a file: :func:`airflow_kling.archive.download.download_image` with its options bound.
DownloadImage = Callable[[str, BinaryIO], Download]
#: Asks the API for the finished task again, whose URLs are fresh.
Refresh = Callable[[], KlingTask]


def archive_task(
    task: KlingTask,
    *,
    store: Store,
    download: DownloadImage,
    refresh: Refresh,
    request: Mapping[str, Any],
    run: Mapping[str, Any],
) -> Archive:
    """Archive every image of a finished task.

    :param task: the finished task.
    :param refresh: called at most once for each image, when its URL has expired or its download broke off.
    :param request: the request record, for the manifest; empty where it is not known.
    :param run: the Airflow run, for the manifest; see :func:`airflow_kling.archive.manifest.build_manifest`.
    :return: the manifest, as it is in the store now, and where.
    :raises KlingNotFinishedError: the task has not succeeded, or its images are still to come.
    :raises KlingError: its indexes make no sense, or its route is not known.
    :raises KlingDownloadError: an image could not be fetched; those before it stay in the store for the next try.
    """
    kling_task_id = check_task_id(task.kling_task_id)
    results = images_by_index(task)
    find_route(task.route)  # the manifest needs it; an unknown one is refused before anything is fetched
    store.remove_leftovers(kling_task_id)
    present = store.keys(kling_task_id)
    previous = _read_manifest(store, kling_task_id) if manifest_key(kling_task_id) in present else None
    known = {} if previous is None else {image.index: image for image in previous.images}
    kept = {index: image for index, image in known.items() if index in results and is_stored(store, image)}
    uri = store.uri(manifest_key(kling_task_id))
    if previous is not None and kept.keys() == results.keys() == known.keys():
        log.info("Kling task %s is archived already: %s", kling_task_id, uri)
        return Archive(previous, uri)
    # What a manifest names is replaced when it is broken, never adopted: its bytes are not those of the manifest.
    adoptable = {index: () if index in known else present for index in results}
    archiver = _ImageArchiver(kling_task_id, store, download, refresh, results)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="kling-archive") as pool:
        images = list(
            pool.map(lambda index: kept.get(index) or archiver.archive(index, adoptable[index]), sorted(results))
        )
    _remove_variants(store, kling_task_id, images, present)
    manifest = build_manifest(task, images, request=request, run=run)
    write_document(store, manifest_key(kling_task_id), manifest)
    log.info("Archived %d images of Kling task %s: %s", len(images), kling_task_id, uri)
    return Archive(manifest, uri)


def images_by_index(task: KlingTask) -> dict[int, Result]:
    """Return the images of a finished task by their index.

    :raises KlingNotFinishedError: it has not succeeded, or has no images, or one without a URL, which may still come.
    :raises KlingError: an index that is used twice or out of range.
    """
    task_id = task.kling_task_id
    if task.status != SUCCEED:
        raise KlingNotFinishedError(
            f"Kling task {task_id} is {task.status!r}, not succeeded; nothing was archived, wait for it first.",
            kling_task_id=task_id,
        )
    images: dict[int, Result] = {}
    for image in task.results:
        if image.kind != "image":
            continue
        if not 0 <= image.index <= MAX_INDEX or image.index in images:
            raise KlingError(
                f"Kling task {task_id} has the image index {image.index}, used twice or not within 0 to {MAX_INDEX}.",
                kling_task_id=task_id,
            )
        if not image.url:
            raise KlingNotFinishedError(
                f"Image {image.index} of Kling task {task_id} has no URL yet; nothing was archived, a retry asks "
                "again.",
                kling_task_id=task_id,
            )
        images[image.index] = image
    if not images:
        raise KlingNotFinishedError(
            f"Kling task {task_id} has succeeded without any image yet; nothing was archived, a retry asks again.",
            kling_task_id=task_id,
        )
    return images


class _ImageArchiver:
    """Gets images into the store, from several threads; one fresh answer of the API serves all of them."""

    def __init__(
        self,
        kling_task_id: str,
        store: Store,
        download: DownloadImage,
        refresh: Refresh,
        results: Mapping[int, Result],
    ) -> None:
        self._kling_task_id = kling_task_id
        self._store = store
        self._download = download
        self._refresh = refresh
        self._results = dict(results)
        self._refreshing = threading.Lock()

    def archive(self, index: int, present: Collection[str]) -> ManifestImage:
        """Adopt a whole image that a killed run left in the store without a manifest, or else fetch and store it.

        :param present: keys of the store that may be adopted.
        """
        with tempfile.TemporaryFile(prefix="kling-") as file:
            found = self._adopt(index, present, file)
            if found is not None:
                return found
            got = self._fetch(index, file)
            key = image_key(self._kling_task_id, index, got.media.extension)
            self._store.put(key, file, content_type=got.media.content_type, sha256=got.sha256)
        return self._entry(index, got)

    def _adopt(self, index: int, present: Collection[str], file: BinaryIO) -> ManifestImage | None:
        for extension in EXTENSIONS:
            key = image_key(self._kling_task_id, index, extension)
            file.seek(0)
            file.truncate()
            if key not in present or not self._store.download(key, file):
                continue
            got = self._inspect(key, file)
            if got is not None and got.media.extension == extension:
                log.info("Took image %d of Kling task %s from the store", index, self._kling_task_id)
                return self._entry(index, got)
        return None

    def _inspect(self, key: str, file: BinaryIO) -> Download | None:
        size = file.tell()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        stored = self._store.stat(key)
        if stored is None or stored.bytes != size or stored.sha256 not in (None, sha256):
            return None
        try:
            return Download(size, sha256, probe(file, url=self._store.uri(key), max_pixels=DownloadLimits.max_pixels))
        except KlingImageError:
            return None

    def _fetch(self, index: int, file: BinaryIO) -> Download:
        url = self._results[index].url
        try:
            try:
                return self._download(url, file)
            except KlingDownloadError as error:
                if not error.retryable:
                    raise
                log.info("Image %d of Kling task %s: %s Trying a fresh URL.", index, self._kling_task_id, error)
            return self._download(self._fresh_url(index, url), file)
        except KlingError as error:
            error.kling_task_id = self._kling_task_id
            raise

    def _fresh_url(self, index: int, stale: str) -> str:
        """Ask the API for the task's URLs, unless another image has just done so."""
        with self._refreshing:
            if self._results[index].url == stale:
                fresh = images_by_index(self._refresh())
                if index not in fresh:
                    raise KlingNotFinishedError(f"Kling task {self._kling_task_id} no longer has an image {index}.")
                self._results.update(fresh)
            return self._results[index].url

    def _entry(self, index: int, got: Download) -> ManifestImage:
        key = image_key(self._kling_task_id, index, got.media.extension)
        return ManifestImage(
            index=index,
            uri=self._store.uri(key),
            key=key,
            sha256=got.sha256,
            bytes=got.bytes,
            width=got.media.width,
            height=got.media.height,
            content_type=got.media.content_type,
            source_url=redact_url(self._results[index].url),
        )


def _read_manifest(store: Store, kling_task_id: str) -> Manifest | None:
    key = manifest_key(kling_task_id)
    data = read_document(store, key)
    manifest = parse_manifest(data) if data is not None else None
    if manifest is None or manifest.kling_task_id != kling_task_id:
        log.warning("%s is not a manifest of Kling task %s; it is written anew", store.uri(key), kling_task_id)
        return None
    return manifest


def _remove_variants(
    store: Store, kling_task_id: str, images: Iterable[ManifestImage], present: Collection[str]
) -> None:
    """Remove the same index under another extension, which an interrupted run may have left."""
    for image in images:
        variants = {image_key(kling_task_id, image.index, extension) for extension in EXTENSIONS} - {image.key}
        for key in variants.intersection(present):
            store.remove(key)
