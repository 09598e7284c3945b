"""Removes what may be a secret from a URL: logs, errors, manifests and lineage get this form and no other."""

from __future__ import annotations

from urllib.parse import urlsplit


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
