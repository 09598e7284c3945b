"""Finds the checkout, and the files that ``file://`` URIs name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

CHECKOUT = Path(__file__).resolve().parents[2]


def local_path(uri: str) -> Path:
    """Return the path of a ``file://`` URI."""
    return Path(url2pathname(urlsplit(uri).path))
