"""Gets the results of one task into the store: adopts what lies there, else fetches, verifies and stores it.

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
from airflow_kling.archive.download import Download
from airflow_kling.archive.limits import LIMITS
from airflow_kling.archive.manifest import Entry, ManifestImage, ManifestVideo, UnverifiedFile
from airflow_kling.archive.posters import Posters
from airflow_kling.archive.results import ResultKey, results_by_key
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingImageError, KlingNotFinishedError
from airflow_kling.media.kinds import EXTENSIONS, HEAD_BYTES, find_type
from airflow_kling.media.probe import probe
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import UNKNOWN_EXTENSION, result_key, unverified_key

log = logging.getLogger(__name__)

#: Fetches a URL into a file, which shall be a result of this kind:
#: :func:`airflow_kling.archive.download.download_result` with its options bound.
DownloadResult = Callable[[str, BinaryIO, str], Download]
#: Asks the API for the finished task again, whose URLs are fresh.
Refresh = Callable[[], KlingTask]


class ResultArchiver:
    """Archives single results, from several threads; one fresh answer of the API serves all of them.

    :param results: the results of the task.
    :param aside: what an earlier run has put aside; it is still there.
    :ivar hopeless: a download of what is put aside would give the same again.
    """

    def __init__(
        self,
        kling_task_id: str,
        store: Store,
        download: DownloadResult,
        refresh: Refresh,
        results: Mapping[ResultKey, Result],
        aside: Mapping[ResultKey, UnverifiedFile],
    ) -> None:
        self._kling_task_id = kling_task_id
        self._store = store
        self._download = download
        self._refresh = refresh
        self._results = dict(results)
        self._aside = dict(aside)
        self._posters = Posters(kling_task_id, store)
        self._refreshing = threading.Lock()
        self.hopeless = False

    def archive(self, key: ResultKey, present: Collection[str]) -> Entry:
        """Adopt a whole result that lies in the store, or else fetch and store it.

        :param present: names in the store that may be adopted.
        :return: the result, or the file that was put aside.
        """
        with tempfile.TemporaryFile(prefix="kling-") as file:
            found = self._adopt(key, present, file)
            if found is not None:
                return found
            try:
                got = self._fetch(key, file)
            except KlingError as error:
                error.kling_task_id = self._kling_task_id
                if key not in self._aside:
                    raise
                self.hopeless = self.hopeless or not error.retryable
                log.warning("%s of Kling task %s: %s", key.title, self._kling_task_id, error)
                return self._aside[key]
            entry = self._entry(key, got, file)
            self._store.put(entry.key, file, content_type=entry.content_type, sha256=entry.sha256)
        return entry

    def restore_poster(self, entry: Entry) -> Entry:
        """Make the poster of an archived video again where the store has lost it."""
        return self._posters.restore(entry) if isinstance(entry, ManifestVideo) else entry

    def _adopt(self, key: ResultKey, present: Collection[str], file: BinaryIO) -> ManifestImage | ManifestVideo | None:
        for extension in EXTENSIONS.get(key.kind, ()):
            name = result_key(self._kling_task_id, key.index, extension, kind=key.kind)
            file.seek(0)
            file.truncate()
            if name not in present or not self._store.download(name, file):
                continue
            got = self._inspect(name, file, key.kind)
            if got is not None and got.media.extension == extension:
                log.info("Took %s of Kling task %s from the store", key, self._kling_task_id)
                return self._entry(key, got, file)
        return None

    def _inspect(self, name: str, file: BinaryIO, kind: str) -> Download | None:
        size = file.tell()
        sha256 = _hash(file)
        stored = self._store.stat(name)
        if stored is None or stored.bytes != size or stored.sha256 not in (None, sha256):
            return None
        try:
            media = probe(file, url=self._store.uri(name), kind=kind, max_pixels=LIMITS[kind].max_pixels)
        except KlingImageError:
            return None
        return Download(size, sha256, media)

    def _fetch(self, key: ResultKey, file: BinaryIO) -> Download:
        url = self._results[key].url
        try:
            return self._try(key, url, file)
        except KlingDownloadError as error:
            if not error.retryable:
                raise
            log.info("%s of Kling task %s: %s Trying a fresh URL.", key.title, self._kling_task_id, error)
        return self._try(key, self._fresh_url(key, url), file)

    def _try(self, key: ResultKey, url: str, file: BinaryIO) -> Download:
        try:
            return self._download(url, file, key.kind)
        except KlingImageError as error:
            if error.whole:
                self._put_aside(key, file, str(error))
            raise

    def _put_aside(self, key: ResultKey, file: BinaryIO, reason: str) -> None:
        file.seek(0)
        file_type = find_type(file.read(HEAD_BYTES))
        extension = file_type.extension if file_type else UNKNOWN_EXTENSION
        name = unverified_key(self._kling_task_id, key.index, extension, kind=key.kind)
        entry = UnverifiedFile(
            kind=key.kind,
            index=key.index,
            uri=self._store.uri(name),
            key=name,
            sha256=_hash(file),
            bytes=file.seek(0, 2),
            reason=reason,
            source_url=redact_url(self._results[key].url),
            accepted=key.kind not in EXTENSIONS,  # which a later download would not make any better
        )
        content_type = file_type.content_type if file_type else "application/octet-stream"
        self._store.put(name, file, content_type=content_type, sha256=entry.sha256)
        earlier = self._aside.get(key)
        if earlier is not None and earlier.key != name:
            self._store.remove(earlier.key)
        self._aside[key] = entry

    def remove_aside(self, key: ResultKey) -> None:
        """Remove what was put aside for a result that is verified now."""
        if (entry := self._aside.pop(key, None)) is not None:
            self._store.remove(entry.key)

    def _fresh_url(self, key: ResultKey, stale: str) -> str:
        """Ask the API for the task's URLs, unless another result has just done so."""
        with self._refreshing:
            if self._results[key].url == stale:
                fresh = results_by_key(self._refresh())
                if key not in fresh:
                    article = "an" if key.kind in ("image", "audio") else "a"
                    raise KlingNotFinishedError(f"Kling task {self._kling_task_id} no longer has {article} {key}.")
                self._results.update(fresh)
            return self._results[key].url

    def _entry(self, key: ResultKey, got: Download, file: BinaryIO) -> ManifestImage | ManifestVideo:
        name = result_key(self._kling_task_id, key.index, got.media.extension, kind=key.kind)
        result, media = self._results[key], got.media
        fields = {
            "index": key.index,
            "uri": self._store.uri(name),
            "key": name,
            "sha256": got.sha256,
            "bytes": got.bytes,
            "width": media.width,
            "height": media.height,
            "content_type": media.content_type,
            "source_url": redact_url(result.url),
        }
        if key.kind == "image":
            return ManifestImage.model_validate(fields)
        poster = self._posters.make(key.index, file)
        more = {"duration": media.duration, "codec": media.codec, "id": result.id, "poster": poster}
        return ManifestVideo.model_validate(fields | more)


def stored_aside(store: Store, entries: Mapping[ResultKey, Entry]) -> dict[ResultKey, UnverifiedFile]:
    """Return what lies aside of a manifest's entries, and is still there."""
    aside = {key: entry for key, entry in entries.items() if isinstance(entry, UnverifiedFile)}
    return {key: entry for key, entry in aside.items() if is_stored(store, entry)}


def _hash(file: BinaryIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
