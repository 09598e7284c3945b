"""Reads the URLs of results, and where their hosts redirect to, as browsers do."""

from __future__ import annotations

import re

import httpx

_ODD = re.compile(r"[\x00-\x1f\x7f]")


class BadURL(Exception):
    """Why a URL is not fetched, as a clause after "it"."""


def read_url(url: str, *, allow_http: bool) -> httpx.URL:
    """Read a URL that somebody else wrote.

    :param url: absolute; the scheme in any case.
    :param allow_http: take http too, and not https alone.
    :raises BadURL: nothing is fetched from there.
    """
    parsed = _parse(url)
    if parsed.scheme != "https" and not (allow_http and parsed.scheme == "http"):
        raise BadURL(f"is not https but {parsed.scheme or 'without a scheme'}")
    if not parsed.host:
        raise BadURL("has no host")
    if parsed.userinfo:
        raise BadURL("has credentials in it")
    if not 0 < (parsed.port or 443) < 2**16:
        raise BadURL("has a port that cannot be")
    return parsed


def redirect_target(location: bytes, current: httpx.URL, *, allow_http: bool) -> httpx.URL:
    """Return where a redirect leads.

    :param location: the header; a URL, absolute or not, mostly in ASCII, else in UTF-8 or in Latin-1.
    :param current: the URL that redirects.
    :raises BadURL: nothing is fetched from there.
    """
    try:
        text = location.decode("utf-8")
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    try:
        joined = str(current.join(_parse(text.strip())))
    except (httpx.InvalidURL, ValueError, BadURL):
        raise BadURL("redirects to something that is not a URL") from None
    return read_url(joined, allow_http=allow_http)


def _parse(url: str) -> httpx.URL:
    try:
        if _ODD.search(url):
            raise ValueError
        parsed = httpx.URL(url)
        parsed.raw_host, parsed.raw_path  # noqa: B018 - they encode, and may fail at it
    except (httpx.InvalidURL, ValueError, TypeError):  # idna raises a UnicodeError, which is a ValueError
        raise BadURL("is not a valid URL") from None
    return parsed
