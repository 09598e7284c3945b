"""Reads and writes the JSON documents beside the images, and compares images with them."""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydantic import BaseModel

from airflow_kling.archive.manifest import MAX_BYTES, ManifestImage, dump_manifest
from airflow_kling.storage.base import Store


def read_document(store: Store, key: str) -> bytes | None:
    """Return a document, None if there is none; one that is too large is not read, and as good as empty."""
    stored, data = store.stat(key), BytesIO()
    if stored is None or (stored.bytes <= MAX_BYTES and not store.download(key, data)):
        return None
    return data.getvalue()


def write_document(store: Store, key: str, document: BaseModel) -> str:
    """Write a manifest or a review; return its uri."""
    data = dump_manifest(document)
    sha256 = hashlib.sha256(data).hexdigest()
    return store.put(key, BytesIO(data), content_type="application/json", sha256=sha256)


def is_stored(store: Store, image: ManifestImage) -> bool:
    """Tell whether the store has the bytes of an image, as far as it knows without reading them."""
    stored = store.stat(image.key)
    return stored is not None and stored.bytes == image.bytes and stored.sha256 in (None, image.sha256)
