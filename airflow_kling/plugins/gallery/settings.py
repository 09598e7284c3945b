"""Reads the gallery's settings from Airflow's configuration."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

from airflow_kling.plugins.gallery.cache import DiskCache
from airflow_kling.plugins.gallery.locations import MAX_VIDEO_MIB, read_roots
from airflow_kling.plugins.gallery.videos import AT_ONCE

log = logging.getLogger(__name__)
_MIB = 1024 * 1024


def file_roots() -> tuple[str, ...]:
    """Return the folders of the API server that the gallery may read; none unless they are named."""
    return read_roots(conf.get("kling", "gallery_file_roots", fallback=""))


def max_video_bytes() -> int:
    """Return the size of the largest video that the gallery plays; the cache has room for some of them."""
    most: int = conf.getint("kling", "gallery_max_video_mb", fallback=MAX_VIDEO_MIB) * _MIB
    return min(most, _video_cache_bytes() // AT_ONCE)


@functools.cache
def disk_cache() -> DiskCache | None:
    """Return the cache of thumbnails; None where there is no directory for it."""
    size = conf.getint("kling", "gallery_cache_mb", fallback=512) * _MIB
    return _open(_cache_directory(), size, ".webp", "keep thumbnails in %s and makes each one again: %s")


@functools.cache
def video_cache() -> DiskCache | None:
    """Return the cache of videos; None where there is no directory for it."""
    return _open(_cache_directory() / "videos", _video_cache_bytes(), ".video", "keep videos in %s and plays none: %s")


def _cache_directory() -> Path:
    directory = conf.get("kling", "gallery_cache_directory", fallback="")
    return Path(directory or os.path.join(tempfile.gettempdir(), f"airflow-kling-gallery-{os.geteuid()}"))


def _video_cache_bytes() -> int:
    size: int = conf.getint("kling", "gallery_video_cache_mb", fallback=2048)
    return size * _MIB


def _open(directory: Path, max_bytes: int, suffix: str, problem: str) -> DiskCache | None:
    try:
        return DiskCache(directory, max_bytes, suffix=suffix)
    except OSError as error:
        log.error("The Kling gallery cannot " + problem, directory, error)
        return None
