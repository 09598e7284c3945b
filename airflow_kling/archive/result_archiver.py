"""Gets the images of one task into the store: adopts what lies there, else fetches, verifies and stores it.

What has arrived whole and cannot be verified is paid for all the same. It is put aside at once, before a fresh URL is
tried, and stays there unless that helps.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from typing import BinaryIO

from airflow_kling.api.redact import redact_url
from airflow_kling.api.tasks import KlingTask, Result
from airflow_kling.archive.documents import is_stored
from airflow_kling.archive.download import Download, DownloadLimits
from airflow_kling.archive.manifest import Entry, ManifestImage, UnverifiedFile
from airflow_kling.archive.results import results_by_key
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingImageError, KlingNotFinishedError
from airflow_kling.media.kinds import EXTENSIONS, HEAD_BYTES, find_type
from airflow_kling.media.probe import probe
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import UNKNOWN_EXTENSION, image_key, unverified_key

log = logging.getLogger(__name__)

#: Fetches a URL into a file: :func:`airflow_kling.archive.download.download_result` with its options bound.
DownloadResult = Callable[[str, BinaryIO], Download]
#: Asks the API for the finished task again, whose URLs are fresh.
Refresh = Callable[[], KlingTask]


class ResultArchiver:
    """Archives single images, from several threads; one fresh answer of the API serves all of them.

    :param results: the images of the task by their index.
    :param aside: what an earlier run has put aside, by index; it is still there.
    :ivar hopeless: a download of what is put aside would give the same again.
    """

    def __init__(
        self,
        kling_task_id: str,
        store: Store,
        download: DownloadResult,
        refresh: Refresh,
        results: Mapping[int, Result],
        aside: Mapping[int, UnverifiedFile],
    ) -> None:
        self._kling_task_id = kling_task_id
        self._store = store
        self._download = download
        self._refresh = refresh
        self._results = dict(results)
        self._aside = dict(aside)
        self._refreshing = threading.Lock()
        self.hopeless = False

    def archive(self, index: int, present: Collection[str]) -> Entry:
        """Adopt a whole image that lies in the store, or else fetch and store it.

        :param present: keys of the store that may be adopted.
        :return: the image, or the file that was put aside.
        """
        with tempfile.TemporaryFile(prefix="kling-") as file:
            found = self._adopt(index, present, file)
            if found is not None:
                return found
            try:
                got = self._fetch(index, file)
            except KlingError as error:
                error.kling_task_id = self._kling_task_id
                if index not in self._aside:
                    raise
                self.hopeless = self.hopeless or not error.retryable
                log.warning("Image %d of Kling task %s: %s", index, self._kling_task_id, error)
                return self._aside[index]
            entry = self._entry(index, got)
            self._store.put(entry.key, file, content_type=entry.content_type, sha256=entry.sha256)
        return entry

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
        sha256 = _hash(file)
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
            return self._try(index, url, file)
        except KlingDownloadError as error:
            if not error.retryable:
                raise
            log.info("Image %d of Kling task %s: %s Trying a fresh URL.", index, self._kling_task_id, error)
        return self._try(index, self._fresh_url(index, url), file)

    def _try(self, index: int, url: str, file: BinaryIO) -> Download:
        try:
            return self._download(url, file)
        except KlingImageError as error:
            if error.whole:
                self._put_aside(index, file, str(error))
            raise

    def _put_aside(self, index: int, file: BinaryIO, reason: str) -> None:
        file.seek(0)
        file_type = find_type(file.read(HEAD_BYTES))
        key = unverified_key(self._kling_task_id, index, file_type.extension if file_type else UNKNOWN_EXTENSION)
        entry = UnverifiedFile(
            index=index,
            uri=self._store.uri(key),
            key=key,
            sha256=_hash(file),
            bytes=file.seek(0, 2),
            reason=reason,
            source_url=redact_url(self._results[index].url),
        )
        content_type = file_type.content_type if file_type else "application/octet-stream"
        self._store.put(key, file, content_type=content_type, sha256=entry.sha256)
        earlier = self._aside.get(index)
        if earlier is not None and earlier.key != key:
            self._store.remove(earlier.key)
        self._aside[index] = entry

    def remove_aside(self, index: int) -> None:
        """Remove what was put aside for an image that is verified now."""
        if (entry := self._aside.pop(index, None)) is not None:
            self._store.remove(entry.key)

    def _fresh_url(self, index: int, stale: str) -> str:
        """Ask the API for the task's URLs, unless another image has just done so."""
        with self._refreshing:
            if self._results[index].url == stale:
                fresh = results_by_key(self._refresh())
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


def stored_aside(store: Store, entries: Mapping[int, Entry]) -> dict[int, UnverifiedFile]:
    """Return what lies aside of a manifest's entries, and is still there."""
    aside = {index: entry for index, entry in entries.items() if isinstance(entry, UnverifiedFile)}
    return {index: entry for index, entry in aside.items() if is_stored(store, entry)}


def _hash(file: BinaryIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
