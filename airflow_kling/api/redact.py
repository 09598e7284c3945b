"""Removes what may be a secret from a URL: logs, errors, manifests and lineage get this form and no other."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit

_QUERY = re.compile(r"""(https?://[^\s"'<>()?#]+)[?#][^\s"'<>()]*""", re.IGNORECASE)

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


def redact_urls_in(text: str) -> str:
    """Return a text of Kling's without the queries of URLs: it may quote a reference, whose URL is signed."""
    return _QUERY.sub(r"\1", text)


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
