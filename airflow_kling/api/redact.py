"""Removes what may be a secret from a URL: logs, errors, manifests and lineage get this form and no other."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any
from urllib.parse import unquote_plus, urlsplit

#: Parameters that sign a URL, in lower case: they differ each time the same file is given. Sources: the providers'
#: pages on presigned URLs.
SIGNATURE_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-obs-", "x-tos-", "q-sign-")
SIGNATURE_PARAMETERS = frozenset(
    {
        *("signature", "expires", "awsaccesskeyid"),  # AWS signature 2, and what took it over
        *("key-pair-id", "policy", "hash-algorithm"),  # CloudFront
        *("googleaccessid", "ossaccesskeyid", "accesskeyid", "security-token"),  # Google, Alibaba, Huawei
        *("q-ak", "q-key-time", "q-header-list", "q-url-param-list", "q-signature", "x-cos-security-token"),  # Tencent
        *("sig", "se", "st", "sp", "sv", "sr", "sip", "spr", "ss", "srt", "ses", "sdd", "si"),  # Azure
        *("ske", "skoid", "sks", "skt", "sktid", "skv", "saoid", "suoid", "scid", "sduoid", "skdutid"),
        *("hdnea", "hdnts", "__token__", "auth_key"),  # Akamai, Alibaba's CDN
    }
)

_LONGEST_SHOWN = 300  # characters of a text that is no URL: a path, or base64
_BASE64_OF_IMAGE = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")  # JPEG, PNG, GIF, WebP


def redact_url(url: str) -> str:
    """Remove everything of ``url`` that may be a secret: userinfo, query and fragment.

    :param url: any text; what cannot be read as a URL becomes ``"<not a URL>"``.
    :return: ``scheme://host[:port]/path``.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<not a URL>"
    if not parts.scheme or "://" not in url:
        return "<not a URL>"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redact_callback(url: Any) -> Any:
    """Return a callback URL as it may be shown: a token may stand in its path too, so only its host is left."""
    if not isinstance(url, str) or "://" not in url:
        return url
    scheme, _, rest = redact_url(url).partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}/..." if path else f"{scheme}://{host}"


def redact_media(value: Any) -> Any:
    """Return reference media as it may be shown: URLs without queries, payloads as their size.

    :param value: one reference or a list of them, as an operator's field has it; a text may be a rendered list.
    """
    if isinstance(value, Mapping):
        return {key: redact_media(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_media(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, PathLike):
        value = str(value)
    return _redact_text(value) if isinstance(value, str) else value


def _redact_text(text: str) -> Any:
    from airflow_kling.api.values import from_text

    given = from_text(text)
    if not isinstance(given, str):
        return redact_media(given)
    text = text.strip()
    if text[:5].lower() == "data:":
        return f"{text.partition(',')[0][:100]},<{len(text)} characters>"
    if "://" in text:
        return redact_url(text)
    if len(text) > _LONGEST_SHOWN or text.startswith(_BASE64_OF_IMAGE):
        return f"<{len(text)} characters>"
    return text


def unsigned_query(url: str) -> str:
    """Return the query of a URL without the parameters that sign it: what is left says which file is meant."""
    try:
        query = urlsplit(url).query
    except ValueError:
        return ""
    return "&".join(part for part in query.split("&") if part and not _signs(part))


def _signs(part: str) -> bool:
    name = unquote_plus(part.partition("=")[0]).lower()
    return name in SIGNATURE_PARAMETERS or name.startswith(SIGNATURE_PREFIXES)
