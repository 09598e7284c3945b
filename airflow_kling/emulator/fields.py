"""Checks single fields of a create request, as Kling's documentation describes them.

The product's own checks are not used: an emulator that shared them would share their mistakes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from airflow_kling.emulator.errors import BAD_BASE64, ApiError, kling_error
from airflow_kling.emulator.references import MAX_BYTES, MAX_STRETCH, NotAnImage, Reference, ReferenceStore

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


def optional(rule: Rule) -> Rule:
    """Leave None what is not given, in place of a default."""

    def check(name: str, value: Any, store: ReferenceStore) -> Any:
        return None if value is None else rule(name, value, store)

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


def absent(name: str, value: Any, store: ReferenceStore) -> None:
    """Refuse a field that the route does not have, where a caller may think that it has."""
    if value is not None:
        raise invalid(f"parameter '{name}' is not supported")


def model(*live: str, retired: Collection[str] = (), default: str | None = None) -> Rule:
    """Accept the name of a model that is live.

    :param retired: models that have been there: HTTP 404, code 1203 [W]
    :param default: what a request without the field asks for (default: the first one)
    """

    def check(name: str, value: Any, store: ReferenceStore) -> str:
        wanted = value or default or live[0]
        if wanted in retired:
            raise kling_error(1203, "The model is discontinued")
        return str(choice(*live)(name, wanted, store))

    return check


def flag(name: str, value: Any, store: ReferenceStore) -> bool:
    """Accept true or false; false is the default."""
    if not isinstance(value, bool | None):
        raise invalid(f"{name} must be true or false")
    return bool(value)


def number(least: float, most: float) -> Rule:
    """Accept a number in these limits; without one the value is None."""

    def check(name: str, value: Any, store: ReferenceStore) -> float | None:
        if value is None:
            return None
        # JSON as Python reads it has NaN, which is in no limits.
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise invalid(f"{name} must be a number from {least:g} to {most:g}")
        return float(value)

    return check


def choice(*allowed: str) -> Rule:
    """Accept one of these texts; the first is the default."""

    def check(name: str, value: Any, store: ReferenceStore) -> str:
        if value is not None and value not in allowed:
            raise invalid(f"{name} value '{value}' is invalid")
        return allowed[0] if value is None else str(value)

    return check


def whole(least: int, most: int, default: int | None = None) -> Rule:
    """Accept a whole number in these limits; the least is the default unless another one is given."""

    def check(name: str, value: Any, store: ReferenceStore) -> int:
        if value is None:
            return least if default is None else default
        # In Python True is a whole number, in JSON it is none.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise invalid(f"{name} must be a whole number from {least} to {most}")
        return value

    return check


def whole_or(word: str, least: int, most: int, default: int) -> Rule:
    """Accept a whole number in these limits, or a word in its place."""

    def check(name: str, value: Any, store: ReferenceStore) -> int | str:
        return word if value == word else int(whole(least, most, default)(name, value, store))

    return check


def picture(stretch: float | None) -> Rule:
    """Accept an image: a URL, or the bytes of a JPEG or PNG file in base64 without a ``data:`` prefix.

    :param stretch: how many times longer than the shorter side the longer one may be; None for no limit
    """

    def check(name: str, value: Any, store: ReferenceStore) -> Reference | None:
        if value in (None, ""):
            return None
        if not isinstance(value, str):
            raise invalid(f"{name} must be a URL or base64 text")
        if value.startswith(("http://", "https://")):
            return Reference(url=value, stretch=stretch)
        # Before decoding, so that a huge text costs no memory.
        if len(value) > MAX_BYTES * 4 // 3 + 4:
            raise invalid(f"{name}: File size exceeds the limit of 10MB")
        try:
            return store.admit(base64.b64decode(value, validate=True), stretch)
        except NotAnImage as error:
            raise invalid(f"{name}: {error}") from error
        except (binascii.Error, ValueError) as error:
            # A "data:" prefix ends here too: its colon is no base64 character.
            raise invalid(BAD_BASE64) from error

    return check


image = picture(MAX_STRETCH)
"""Accept an image of the usual shape."""


def objects(noun: str, least: int, most: int, rules: Mapping[str, Rule]) -> Rule:
    """Accept a list of objects with these fields.

    :param noun: what the objects are, in the plural
    """

    def check(name: str, value: Any, store: ReferenceStore) -> list[dict[str, Any]]:
        items = [] if value is None else value
        if not isinstance(items, list):
            raise invalid(f"{name} must be a list")
        if not least <= len(items) <= most:
            raise invalid(f"{name} must have {least} to {most} {noun}, not {len(items)}")
        return [_object(f"{name}[{position}]", item, rules, store) for position, item in enumerate(items)]

    return check


def _object(name: str, item: Any, rules: Mapping[str, Rule], store: ReferenceStore) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise invalid(f"{name} must be an object with {next(iter(rules))}")
    return item | {key: rule(f"{name}.{key}", item.get(key), store) for key, rule in rules.items()}


def images(key: str, least: int, most: int) -> Rule:
    """Accept a list of objects that each have an image under ``key``."""
    return objects("images", least, most, {key: required(image)})


def element(name: str, value: Any, store: ReferenceStore) -> int:
    """Accept the id of an element: a whole number of 64 bits, or its digits as text."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    if not (digits or (isinstance(value, int) and not isinstance(value, bool))) or not 0 < int(value) < 2**63:
        raise invalid(f"{name} must be a whole number of 64 bits")
    return int(value)


def elements(most: int) -> Rule:
    """Accept a list of objects that each have an ``element_id``."""
    return objects("elements", 0, most, {"element_id": required(element)})


def video(name: str, value: Any, store: ReferenceStore) -> Reference:
    """Accept the URL of a video; its bytes are not taken [C]."""
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise invalid(f"{name} must be a URL, a video in base64 is not supported")
    return Reference(url=value, kind="video")


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
