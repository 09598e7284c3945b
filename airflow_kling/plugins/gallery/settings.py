"""Reads the gallery's settings from Airflow's configuration."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

from airflow_kling.plugins.gallery.cache import DiskCache
from airflow_kling.plugins.gallery.locations import read_roots

log = logging.getLogger(__name__)


def file_roots() -> tuple[str, ...]:
    """Return the folders of the API server that the gallery may read; none unless they are named."""
    return read_roots(conf.get("kling", "gallery_file_roots", fallback=""))


@functools.cache
def disk_cache() -> DiskCache | None:
    """Return the cache of thumbnails; None where there is no directory for it."""
    directory = conf.get("kling", "gallery_cache_directory", fallback="") or os.path.join(
        tempfile.gettempdir(), f"airflow-kling-gallery-{os.geteuid()}"
    )
    try:
        return DiskCache(Path(directory), conf.getint("kling", "gallery_cache_mb", fallback=512) * 1024 * 1024)
    except OSError as error:
        log.error("The Kling gallery cannot keep thumbnails in %s and makes each one again: %s", directory, error)
        return None
