"""From a finished task to images and a manifest in a store; doing it again repairs what is broken, and no more."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, BinaryIO

from airflow_kling.api.redact import redact_url
from airflow_kling.archive.download import Download, DownloadLimits
from airflow_kling.archive.manifest import (
    MAX_BYTES,
    Archive,
    Manifest,
    ManifestImage,
    build_manifest,
    dump_manifest,
    parse_manifest,
)
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingImageError, KlingNotFinishedError
from airflow_kling.media.image import verify_image
from airflow_kling.storage.keys import EXTENSIONS, MAX_INDEX, check_task_id, image_key, manifest_key
from airflow_kling.storage.open import Store

log = logging.getLogger(__name__)

PARALLEL = 4  # images of a task at once; each holds one temporary file and a piece of it in memory

#: Fetches a URL into a file: :func:`airflow_kling.archive.download.download_image` with its options bound.
DownloadImage = Callable[[str, BinaryIO], Download]
#: Asks the API for the finished task again, whose URLs are fresh.
Refresh = Callable[[], Mapping[str, Any]]


def archive_task(
    task: Mapping[str, Any],
    *,
    store: Store,
    download: DownloadImage,
    refresh: Refresh,
    max_pixels: int = DownloadLimits.max_pixels,
    request: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Archive:
    """Archive every image of a finished task.

    :param task: finished task: ``kling_task_id``, ``status``, ``images: [{"index", "url"}]``, ...
    :param refresh: called at most once per image, when its URL has expired or its download broke off.
    :param max_pixels: limit for an image that is found in the store without a manifest.
    :param request: what was asked, for the manifest; see :func:`airflow_kling.archive.manifest.build_manifest`.
    :param run: the Airflow run, for the manifest.
    :return: the manifest, as it is in the store now, and where.
    :raises KlingError: the task is not finished, has no images, or its indexes make no sense.
    :raises KlingDownloadError: an image could not be fetched; those before it stay in the store for the next try.
    """
    kling_task_id = check_task_id(task.get("kling_task_id"))
    urls = image_urls(task)
    store.sweep(kling_task_id)
    present = store.keys(kling_task_id)
    previous = _read_manifest(store, kling_task_id) if manifest_key(kling_task_id) in present else None
    known = {} if previous is None else {image.index: image for image in previous.images}
    kept = {index: image for index, image in known.items() if index in urls and is_stored(store, image)}
    uri = store.uri(manifest_key(kling_task_id))
    if previous is not None and kept.keys() == urls.keys() == known.keys():
        log.info("Kling task %s is archived already: %s", kling_task_id, uri)
        return Archive(previous, uri)
    one = _OneImage(kling_task_id, store, download, refresh, urls, max_pixels)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="kling-archive") as pool:
        images = list(
            pool.map(
                lambda index: kept.get(index) or one.archive(index, present if index not in known else ()), sorted(urls)
            )
        )
    _remove_variants(store, kling_task_id, images, present)
    manifest = build_manifest(task, images, request=request or {}, run=run or {})
    _write_manifest(store, manifest)
    log.info("Archived %d images of Kling task %s: %s", len(images), kling_task_id, uri)
    return Archive(manifest, uri)


def image_urls(task: Mapping[str, Any]) -> dict[int, str]:
    """Read ``{index: url}`` from a finished task; the position stands in for a missing index.

    :raises KlingError: not succeeded, no images, an image without a URL, or an index that is used twice, no number or
        out of range.
    """
    task_id = task.get("kling_task_id")
    if task.get("status") not in ("succeed", "succeeded"):
        raise KlingNotFinishedError(
            f"Kling task {task_id} is {task.get('status')!r}, not succeeded; nothing was archived, wait for it first.",
            kling_task_id=task_id,
        )
    urls: dict[int, str] = {}
    for position, image in enumerate(task.get("images") or ()):
        index = position if image.get("index") is None else image["index"]
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= MAX_INDEX or index in urls:
            raise KlingError(
                f"Kling task {task_id} has the image index {index!r}, used twice or not within 0 to {MAX_INDEX}.",
                kling_task_id=task_id,
            )
        if not isinstance(image.get("url"), str) or not image["url"]:
            raise KlingError(f"Image {index} of Kling task {task_id} has no URL.", kling_task_id=task_id)
        urls[index] = image["url"]
    if not urls:
        raise KlingError(f"Kling task {task_id} has succeeded without any image.", kling_task_id=task_id)
    return urls


class _OneImage:
    """Gets images into the store, from several threads; fresh URLs serve all of them."""

    def __init__(
        self,
        kling_task_id: str,
        store: Store,
        download: DownloadImage,
        refresh: Refresh,
        urls: Mapping[int, str],
        max_pixels: int,
    ) -> None:
        self._kling_task_id = kling_task_id
        self._store = store
        self._download = download
        self._refresh = refresh
        self._urls = dict(urls)
        self._max_pixels = max_pixels
        self._refreshing = threading.Lock()

    def archive(self, index: int, present: Collection[str]) -> ManifestImage:
        """Take a whole image that a killed run left in the store without a manifest, or else fetch and store it.

        :param present: keys of the store that may be taken.
        """
        with tempfile.TemporaryFile(prefix="kling-") as file:
            found = self._adopt(index, present, file)
            if found is not None:
                return found
            got = self._fetch(index, file)
            key = image_key(self._kling_task_id, index, got.ext)
            self._store.write_file(key, file, content_type=got.content_type, sha256=got.sha256)
        return self._entry(index, got)

    def _adopt(self, index: int, present: Collection[str], file: BinaryIO) -> ManifestImage | None:
        for ext in EXTENSIONS:
            key = image_key(self._kling_task_id, index, ext)
            file.seek(0)
            file.truncate()
            if key not in present or not self._store.read_into(key, file):
                continue
            got = self._inspect(key, file)
            if got is not None and got.ext == ext:
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
            info = verify_image(file, url=self._store.uri(key), max_pixels=self._max_pixels)
        except KlingImageError:
            return None
        return Download(size, sha256, info.content_type, info.ext, info.width, info.height)

    def _fetch(self, index: int, file: BinaryIO) -> Download:
        url = self._urls[index]
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
            if self._urls[index] == stale:
                fresh = image_urls(self._refresh())
                if index not in fresh:
                    raise KlingError(f"Kling task {self._kling_task_id} no longer has an image {index}.")
                self._urls.update(fresh)
            return self._urls[index]

    def _entry(self, index: int, got: Download) -> ManifestImage:
        key = image_key(self._kling_task_id, index, got.ext)
        return ManifestImage(
            index=index,
            uri=self._store.uri(key),
            key=key,
            sha256=got.sha256,
            bytes=got.bytes,
            width=got.width,
            height=got.height,
            content_type=got.content_type,
            source_url=redact_url(self._urls[index]),
        )


def _read_manifest(store: Store, kling_task_id: str) -> Manifest | None:
    key = manifest_key(kling_task_id)
    stored = store.stat(key)
    if stored is None or stored.bytes > MAX_BYTES:
        return None
    data = BytesIO()
    manifest = parse_manifest(data.getvalue()) if store.read_into(key, data) else None
    if manifest is None or manifest.kling_task_id != kling_task_id:
        log.warning("%s is not a manifest of Kling task %s; it is written anew", store.uri(key), kling_task_id)
        return None
    return manifest


def _write_manifest(store: Store, manifest: Manifest) -> None:
    data = dump_manifest(manifest)
    sha256 = hashlib.sha256(data).hexdigest()
    key = manifest_key(manifest.kling_task_id)
    store.write_file(key, BytesIO(data), content_type="application/json", sha256=sha256)


def is_stored(store: Store, image: ManifestImage) -> bool:
    """Whether the store has these bytes, as far as it can tell without reading them."""
    stored = store.stat(image.key)
    return stored is not None and stored.bytes == image.bytes and stored.sha256 in (None, image.sha256)


def _remove_variants(
    store: Store, kling_task_id: str, images: Iterable[ManifestImage], present: Collection[str]
) -> None:
    """Remove the same index under another extension, which an interrupted run may have left."""
    for image in images:
        variants = {image_key(kling_task_id, image.index, ext) for ext in EXTENSIONS} - {image.key}
        for key in variants.intersection(present):
            store.remove(key)
