"""Answers a request for a file, or for a part of it, as HTTP says (RFC 9110): ``Range``, ``If-Range``, 206, 416."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from starlette.responses import Response

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def file_response(data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """The whole file, the part that was asked for, or the refusal of a part that the file does not have.

    :param headers: of the request, their names in small letters
    """
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    own = {"accept-ranges": "bytes", "etag": etag}
    part = wanted(headers.get("range"), len(data))
    # A part of a file that has changed is of no use: the whole of the new one is sent.
    if part is None or headers.get("if-range", etag) != etag:
        return Response(data, media_type=media_type, headers=own)
    first, end = part
    if first >= end:
        return Response(status_code=416, headers={**own, "content-range": f"bytes */{len(data)}"})
    own["content-range"] = f"bytes {first}-{end - 1}/{len(data)}"
    return Response(data[first:end], 206, media_type=media_type, headers=own)


def wanted(text: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that a ``Range`` header asks for: the first, and the one behind the last; equal where there are none.

    :returns: None without a header, and for one of another form, such as several parts: a server may ignore it
    """
    found = _RANGE.fullmatch((text or "").strip())
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return (size - min(size, int(suffix)), size) if int(suffix) and size else (size, size)
    if last and int(last) < int(first):
        return None
    end = min(size, int(last) + 1) if last else size
    return (int(first), end) if int(first) < size else (size, size)
