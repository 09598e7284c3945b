"""The page's own script, styles and icons, read once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FILES = {
    file.name: file.read_bytes() for file in (Path(__file__).parent / "static").iterdir() if file.suffix in _TYPES
}
_VERSIONS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in _FILES.items()}

router = APIRouter()


def address(name: str) -> str:
    """Where a file is, relative to the gallery's page; another content has another address."""
    return f"static/{name}?v={_VERSIONS[name]}"


@router.get("/static/{name}")
def file(name: str) -> Response:
    """One of the files."""
    if name not in _FILES:
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "private, max-age=86400", "ETag": f'"{_VERSIONS[name]}"'}
    return Response(_FILES[name], media_type=_TYPES[Path(name).suffix], headers=headers)
