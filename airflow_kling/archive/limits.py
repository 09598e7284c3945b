"""Limits the download of a result, by its kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of one download. They are not the API's, which names none for results.

    :param max_bytes: size of the body in bytes.
    :param max_pixels: width x height; the largest images that Kling makes have some 16 million.
    :param max_seconds: how long a video plays; Kling's longest plays 3 minutes [C].
    :param total_timeout: seconds for everything after a name is resolved, redirects included.
    :param min_bytes_per_second: so many bytes that arrive give one second more than ``total_timeout``, so that a slow
        line ends no download that goes on; None where none do.
    :param connect_timeout: seconds to connect, per address.
    :param read_timeout: seconds without a single byte.
    :param max_redirects: how many redirects are followed.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 80_000_000
    max_seconds: float = math.inf
    total_timeout: float = 120.0
    min_bytes_per_second: float | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    max_redirects: int = 5


#: By kind of result; other kinds are fetched within the limits of a video.
LIMITS: Final = {
    "image": DownloadLimits(),
    "video": DownloadLimits(
        max_bytes=1024 * 1024 * 1024, max_pixels=40_000_000, max_seconds=600, min_bytes_per_second=64 * 1024
    ),
}
