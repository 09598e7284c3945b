"""Serves the page's scripts, styles and icons, which are read when the app is built."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from airflow_kling.reporting.gallery_urls import static_url

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FILES = {
    file.name: file.read_bytes() for file in (Path(__file__).parent / "static").iterdir() if file.suffix in _TYPES
}
_VERSIONS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in _FILES.items()}

router = APIRouter()


def versioned_url(name: str) -> str:
    """Return the address of a file."""
    return static_url(name, _VERSIONS[name])


@router.get("/static/{name}")
def file(name: str) -> Response:
    """Answer with a file."""
    # A name from outside never becomes part of a path.
    if name not in _FILES:
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "private, max-age=86400", "ETag": f'"{_VERSIONS[name]}"'}
    return Response(_FILES[name], media_type=_TYPES[Path(name).suffix], headers=headers)
