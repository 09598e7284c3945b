"""Refuses what can never be a reference, without I/O or a slow import, and tells where a reference lies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_kling.api.archived import ArchivedResult, find_archived, first_archived
from airflow_kling.api.redact import redact_url
from airflow_kling.exceptions import KlingInputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_UNSUPPORTED_SCHEMES = frozenset({"ftp", "ftps", "ws", "wss", "chrome", "about", "javascript"})
_NEVER_SIGNED = frozenset({"file", "local", "memory"})
_NEVER_AN_IMAGE = (type(None), bool, int, float, complex, list, tuple, dict, set, frozenset)
ACCEPTED = "an http(s) URL, a file path, an object storage URL, bytes, base64, or what an archive task returns"


def check_reference_literal(reference: object, *, name: str, video: bool = False, as_url: bool = False) -> None:
    """Refuse what can never be a reference, without I/O: for the time a DAG file is parsed.

    A string with a template in it passes, and so does every object that is not plainly something else.

    :param reference: what the DAG author wrote.
    :param name: how errors call this reference.
    :param video: it is a video, which Kling takes as a URL only [C].
    :param as_url: it is to be sent as a URL.
    :raises KlingInputError: wrong type, empty, an unusable URL; or not what can be sent as a URL.
    """
    archived = archived_result(reference, name=name, video=video)
    if archived is None:
        _check_kind(reference, name)
    is_template = isinstance(reference, str) and ("{{" in reference or "{%" in reference)
    if (video or as_url) and not is_template:
        url_or_address(reference, name=name, video=video)


def url_or_address(reference: object, *, name: str, video: bool = False) -> str:
    """Return the http(s) URL of a reference that is sent as a URL, or the address of the object to sign.

    :raises KlingInputError: it has neither; no URL can be made of a local file, of bytes and of base64.
    """
    address = address_of(reference, video=video)
    if address is None or scheme_of(address) in _NEVER_SIGNED:
        what = "a local file" if address else "no URL"
        why = "Kling takes a video as a URL only" if video else "send_references_as is 'url'"
        refuse(
            name,
            f"is {what}, and {why}: give an http(s) URL, or what lies in object storage, where its URL can be signed; "
            "nothing was submitted",
        )
    return address


def _check_kind(reference: object, name: str) -> None:
    if isinstance(reference, _NEVER_AN_IMAGE):
        refuse(name, f"is a {type(reference).__name__}; give {ACCEPTED}")
    if isinstance(reference, (str, bytes, bytearray, memoryview)) and not len(reference):
        refuse(name, f"is empty (0 bytes); give {ACCEPTED}")
    if not isinstance(reference, str) or "{{" in reference or "{%" in reference:
        return
    if not reference.strip():
        refuse(name, f"is blank; give {ACCEPTED}")
    scheme = scheme_of(reference)
    if scheme in ("http", "https"):
        _check_url(reference, name)
    elif scheme == "data" and not _DATA_URL.match(reference):
        refuse(name, "is a data: URL without ';base64,'; encode the image as base64")
    elif scheme in _UNSUPPORTED_SCHEMES:
        refuse(name, f"has the unsupported scheme {scheme}://; give {ACCEPTED}")


def archived_result(reference: object, *, name: str, video: bool = False) -> ArchivedResult | None:
    """Return the archived result that a reference means; None for a reference of another kind.

    :param video: a video is meant, and not an image.
    :raises KlingInputError: it has that shape, but nothing can be read by it.
    """
    try:
        return find_archived(first_archived(reference), video=video)
    except ValueError as error:
        refuse(name, str(error))


def check_archived(archived: ArchivedResult, sha256: str, name: str) -> None:
    """Refuse bytes that are not those of an archived result.

    :param sha256: of the bytes that lie there now.
    :raises KlingInputError: the archive's entry has another hash.
    """
    if sha256 != archived.sha256:
        refuse(
            name,
            f"lies at {redact_url(archived.uri)}, but is not what was archived there: its SHA-256 is {sha256}, and "
            f"the archive's entry says {archived.sha256}; nothing was submitted",
        )


def address_of(reference: Any, *, video: bool = False) -> str | None:
    """Return the address of a reference, by which it is allowed and reported; nothing is read.

    :return: a URL with its connection and its query; of a file, ``file://`` and its absolute path, not encoded; None
        where the reference is the image itself, or nothing that could be one.
    """
    try:
        if archived := find_archived(first_archived(reference), video=video):
            return archived.location
    except ValueError:
        return None
    if isinstance(reference, str | Path) or hasattr(reference, "open") or hasattr(reference, "read_bytes"):
        text = str(reference)
    elif isinstance(reference, os.PathLike):
        text = os.fsdecode(reference)
    else:
        return None
    scheme = scheme_of(text)
    if scheme:
        return None if scheme == "data" else text
    is_path = not isinstance(reference, str) or os.path.exists(text)  # else it is base64
    return f"file://{os.path.abspath(text)}" if is_path else None


def refuse(name: str, text: str) -> NoReturn:
    """Raise the error that names the image.

    :raises KlingInputError: always.
    """
    raise KlingInputError(f"{name} {text}.")


def scheme_of(reference: str) -> str:
    """Return the scheme of a URL in small letters, ``data`` for a ``data:`` URL, blank for a path or base64."""
    if reference[:5].lower() == "data:":
        return "data"
    match = _SCHEME.match(reference)
    return match[1].lower() if match else ""


def _check_url(url: str, name: str) -> None:
    shown = redact_url(url)
    if any(char.isspace() or not char.isprintable() for char in url):
        refuse(name, f"is a URL with spaces or control characters in it ({shown!r}); write them as %20 and the like")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        refuse(name, f"is not a valid URL ({shown})")
    if not host:
        refuse(name, f"is a URL without a host ({shown})")
    if "@" in parts.netloc:
        refuse(name, f"is a URL with credentials in it ({shown}); give a signed URL or the image itself")
