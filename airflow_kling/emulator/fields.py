"""Checks single fields of a create request, as Kling's documentation describes them.

The product's own checks are not used: an emulator that shared them would share their mistakes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from airflow_kling.emulator.errors import BAD_BASE64, ApiError, kling_error
from airflow_kling.emulator.references import MAX_BYTES, NotAnImage, Reference, ReferenceStore

Rule = Callable[[str, Any, ReferenceStore], Any]
"""Takes a field's name, its value (None if absent) and the store for images; returns the value to use.

An image becomes a :class:`Reference`, in a list too. A wrong value raises :func:`invalid`.
"""


def invalid(message: str) -> ApiError:
    """The error for a wrong parameter: HTTP 400, code 1201 [C]."""
    return kling_error(1201, message)


def required(rule: Rule) -> Rule:
    """Refuse a request without the field."""

    def check(name: str, value: Any, store: ReferenceStore) -> Any:
        if value in (None, ""):
            raise invalid(f"{name} is required")
        return rule(name, value, store)

    return check


def text(limit: int) -> Rule:
    """Accept a text of at most ``limit`` characters."""

    def check(name: str, value: Any, store: ReferenceStore) -> str:
        if not isinstance(value, str | None):
            raise invalid(f"{name} must be a string")
        if value and len(value) > limit:
            raise invalid(f"{name} is longer than {limit} characters")
        return value or ""

    return check


def choice(*allowed: str) -> Rule:
    """Accept one of these texts; the first is the default."""

    def check(name: str, value: Any, store: ReferenceStore) -> str:
        if value is not None and value not in allowed:
            raise invalid(f"{name} value '{value}' is invalid")
        return allowed[0] if value is None else str(value)

    return check


def whole(least: int, most: int) -> Rule:
    """Accept a whole number in these limits; the least is the default."""

    def check(name: str, value: Any, store: ReferenceStore) -> int:
        if value is None:
            return least
        # In Python True is a whole number, in JSON it is none.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise invalid(f"{name} must be a whole number from {least} to {most}")
        return value

    return check


def image(name: str, value: Any, store: ReferenceStore) -> Reference | None:
    """Accept an image: a URL, or the bytes of a JPEG or PNG file in base64 without a ``data:`` prefix."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise invalid(f"{name} must be a URL or base64 text")
    if value.startswith(("http://", "https://")):
        return Reference(url=value)
    # Before decoding, so that a huge text costs no memory.
    if len(value) > MAX_BYTES * 4 // 3 + 4:
        raise invalid(f"{name}: File size exceeds the limit of 10MB")
    try:
        return store.admit(base64.b64decode(value, validate=True))
    except NotAnImage as error:
        raise invalid(f"{name}: {error}") from error
    except (binascii.Error, ValueError) as error:
        # A "data:" prefix ends here too: its colon is no base64 character.
        raise invalid(BAD_BASE64) from error


def images(key: str, least: int, most: int) -> Rule:
    """Accept a list of objects that each have an image under ``key``."""

    def check(name: str, value: Any, store: ReferenceStore) -> list[dict[str, Any]]:
        items = [] if value is None else value
        if not isinstance(items, list):
            raise invalid(f"{name} must be a list")
        if not least <= len(items) <= most:
            raise invalid(f"{name} must have {least} to {most} images, not {len(items)}")
        return [_with_image(f"{name}[{position}]", item, key, store) for position, item in enumerate(items)]

    return check


def _with_image(name: str, item: Any, key: str, store: ReferenceStore) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise invalid(f"{name} must be an object with {key}")
    return {**item, key: required(image)(f"{name}.{key}", item.get(key), store)}


def web_address(name: str, value: Any, store: ReferenceStore) -> str:
    """Accept an http or https URL."""
    url: str = text(2048)(name, value, store)
    if url and not url.startswith(("http://", "https://")):
        raise invalid(f"{name} must be an http or https URL")
    return url


def watermark(name: str, value: Any, store: ReferenceStore) -> bool:
    """Accept ``{"enabled": true or false}``; returns whether watermarked copies are wanted."""
    if value is None:
        return False
    if not isinstance(value, dict) or not isinstance(value.get("enabled", False), bool):
        raise invalid(f"{name} must be an object with a boolean 'enabled'")
    return bool(value.get("enabled", False))


def references_in(value: Any) -> Iterator[Reference]:
    """The reference images in a checked value, in their order."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from references_in(part)


def without_bytes(value: Any) -> Any:
    """A checked value for the ledger: each image in base64 is replaced by its hash and size."""
    if isinstance(value, Reference):
        return value.url or {"sha256": value.sha256, "bytes": value.size}
    if isinstance(value, dict):
        return {name: without_bytes(part) for name, part in value.items()}
    return [without_bytes(part) for part in value] if isinstance(value, list) else value
