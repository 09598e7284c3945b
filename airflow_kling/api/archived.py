"""Finds the archived result that a reference means: the output of an archive task, or one entry of it.

Such a reference is read from the archive's storage and checked against the hash that the archive knows. The URL from
which it was archived expires, so it is never used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from airflow_kling.api.values import RESULT_KINDS, from_text

_LIST_OF = {kind: name for name, kind in RESULT_KINDS.items()}
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: ``<Kling task id>/<index>.<extension>`` at the end of an address, as the archive names its objects.
_KEY = re.compile(r"(?:^|/)([A-Za-z0-9_-]{1,128})/(\d{1,2})(\.poster)?\.(\w{1,8})$")
_VIDEO_EXTENSIONS = ("mp4", "mov")
_DIRECTORIES = ("file://", "local://")


class ArchivedResult(NamedTuple):
    """One file of an archive.

    :param uri: its address, as the archive task returns it.
    :param sha256: of its bytes, in hex.
    :param is_video: whether it is a video; a poster is an image.
    :param conn_id: the Airflow connection that reaches it; None for the default of its storage.
    :param described: which result of which generation it is: ``kling_task_id``, ``kind``, ``index``, as far as known.
    """

    uri: str
    sha256: str
    is_video: bool
    conn_id: str | None
    described: dict[str, Any]

    @property
    def location(self) -> str:
        """The address to open: with the connection; of a file, its path as it is."""
        scheme, separator, rest = self.uri.partition("://")
        if self.uri.startswith(_DIRECTORIES):
            return f"file://{unquote(rest)}"
        if self.conn_id and "@" not in rest.partition("/")[0]:
            return f"{scheme}{separator}{self.conn_id}@{rest}"
        return self.uri


def first_archived(value: Any) -> Any:
    """Return the first entry of a list of archived results, for a field that takes one; every other value as it is.

    A list comes from ``output["images"]``, and from the outputs of mapped tasks.
    """
    given = from_text(value)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray | memoryview) and len(given):
        return given[0] if isinstance(given[0], Mapping) else value
    return value


def is_archived(value: Any) -> bool:
    """Tell whether a value has the shape of an archive task's output or of an entry of it."""
    given = from_text(value)
    return isinstance(given, Mapping) and ("uri" in given or "manifest" in given or any(map(given.get, RESULT_KINDS)))


def find_archived(value: Any, *, video: bool = False) -> ArchivedResult | None:
    """Return the result that a reference means; None for a reference of another kind.

    :param value: what an archive task returns, one entry of it, or the text that a template has made of them.
    :param video: the first video is meant, and not the first image, where the output has several results.
    :raises ValueError: it has that shape, but nothing can be read by it; the message is the rest of a sentence.
    """
    given = from_text(value)
    if not isinstance(given, Mapping) or not is_archived(given):
        return None
    entry = given if "uri" in given else _first_entry(given, "video" if video else "image")
    uri, sha256 = entry.get("uri"), entry.get("sha256")
    if not isinstance(uri, str) or uri.partition("://")[0].lower() in ("http", "https", uri.lower()):
        raise ValueError("is a dict whose uri is no address in an archive; give what an archive task returns")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("is a dict without the sha256 that an archive's entry has; give what an archive task returns")
    found = _KEY.search(uri)
    is_video = _is_video(entry, found)
    if is_video and not video:
        raise ValueError("is an archived video, where an image is needed; give an image, such as the video's poster")
    if video and not is_video:
        raise ValueError("is an archived image, where a video is needed; give a video")
    conn_id = entry.get("conn_id") or given.get("conn_id")
    return ArchivedResult(uri, sha256, is_video, conn_id, _describe(found, is_video=is_video))


def with_connection(output: Mapping[str, Any], conn_id: str | None) -> dict[str, Any]:
    """Return an archive task's output with the connection in each entry, by which a reference to it is read.

    :param conn_id: None where the default connection of its storage reaches it: then nothing is added.
    """
    if not conn_id:
        return dict(output)

    def named(entry: Mapping[str, Any]) -> dict[str, Any]:
        poster = {"poster": named(entry["poster"])} if entry.get("poster") else {}
        return {**entry, **poster, "conn_id": conn_id}

    return {**output, **{name: list(map(named, output[name])) for name in RESULT_KINDS if name in output}}


def _first_entry(output: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    entries = output.get(_LIST_OF[kind])
    entry = entries[0] if isinstance(entries, Sequence) and entries else None
    if not isinstance(entry, Mapping):
        raise ValueError(f"is the output of an archive task that has no {kind}; give another one")
    if "uri" not in entry:
        raise ValueError(
            f'is a finished task, whose URLs expire; give what the archive task returns, or ["{_LIST_OF[kind]}"][0]'
            '["url"] for the URL'
        )
    return entry


def _is_video(entry: Mapping[str, Any], found: re.Match[str] | None) -> bool:
    content_type = str(entry.get("content_type") or "")
    if content_type or found is None:
        return content_type.startswith("video/")
    return found[4].lower() in _VIDEO_EXTENSIONS


def _describe(found: re.Match[str] | None, *, is_video: bool) -> dict[str, Any]:
    if found is None:
        return {}
    # A poster is of a video: which picture it is, its hash says.
    return {"kling_task_id": found[1], "kind": "video" if is_video or found[3] else "image", "index": int(found[2])}
