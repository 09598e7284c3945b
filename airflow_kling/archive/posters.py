"""Keeps a poster beside each archived video: a JPEG of its first frame. A video is archived without one too."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from io import BytesIO
from typing import BinaryIO

from airflow_kling.archive.documents import is_stored
from airflow_kling.archive.manifest import ManifestVideo, Poster
from airflow_kling.media import frames
from airflow_kling.media.kinds import JPEG
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import poster_key

log = logging.getLogger(__name__)


class Posters:
    """Makes and stores the posters of one task's videos."""

    def __init__(self, kling_task_id: str, store: Store) -> None:
        self._kling_task_id = kling_task_id
        self._store = store

    def make(self, index: int, file: BinaryIO) -> Poster | None:
        """Store the poster of a verified video; return None where that is not possible."""
        if not frames.is_available():
            log.info(
                "Video %d of Kling task %s has no poster: install airflow-provider-kling[video] for it.",
                index,
                self._kling_task_id,
            )
            return None
        try:
            return self._put(index, frames.draw_poster(file))
        except Exception as error:  # nobody has paid for a poster
            log.warning("Video %d of Kling task %s has no poster: %s", index, self._kling_task_id, error)
            return None

    def restore(self, video: ManifestVideo) -> ManifestVideo:
        """Make the poster again from the archived video, where the store has lost it."""
        if video.poster is None or is_stored(self._store, video.poster):
            return video
        with tempfile.TemporaryFile(prefix="kling-") as file:
            self._store.download(video.key, file)
            return video.model_copy(update={"poster": self.make(video.index, file)})

    def _put(self, index: int, picture: frames.Picture) -> Poster:
        key, sha256 = poster_key(self._kling_task_id, index), hashlib.sha256(picture.jpeg).hexdigest()
        uri = self._store.put(key, BytesIO(picture.jpeg), content_type=JPEG.content_type, sha256=sha256)
        return Poster(
            uri=uri,
            key=key,
            sha256=sha256,
            bytes=len(picture.jpeg),
            width=picture.width,
            height=picture.height,
            content_type=JPEG.content_type,
        )
