"""Reads and writes the JSON documents beside the results, and compares results with them."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import BinaryIO, cast

from pydantic import BaseModel

from airflow_kling.archive.manifest import MAX_BYTES, Entry, Manifest, Poster, dump_manifest, parse_manifest, relocate
from airflow_kling.storage.base import Store
from airflow_kling.storage.keys import manifest_key


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


def read_manifest(store: Store, kling_task_id: str) -> Manifest | None:
    """Return the manifest of a task with addresses of this store; None where there is none, or a damaged one."""
    key = manifest_key(kling_task_id)
    data = read_document(store, key)
    manifest = parse_manifest(data) if data is not None else None
    if manifest is None or manifest.kling_task_id != kling_task_id:
        return None
    return relocate(manifest, store.uri)


def is_stored(store: Store, entry: Entry | Poster) -> bool:
    """Tell whether the store has the bytes of a result; they are read where the store does not know their hash."""
    stored = store.stat(entry.key)
    if stored is None or stored.bytes != entry.bytes:
        return False
    return (stored.sha256 or _read_hash(store, entry.key)) == entry.sha256


def _read_hash(store: Store, key: str) -> str | None:
    hashing = _HashingFile()
    return hashing.sha256.hexdigest() if store.download(key, cast(BinaryIO, hashing)) else None


class _HashingFile:
    """A file that keeps nothing but the hash of what is written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        self.sha256.update(piece)
        return len(piece)
