"""Keeps rendered fields with secrets aside: Airflow stores and shows a task's fields as they are after rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import Any

from airflow_kling.api.redact import redact_url
from airflow_kling.api.values import RESULT_KINDS, from_text

_LONGEST_SHOWN = 300  # characters of a text that is no URL: a path, or base64
_BASE64_OF_IMAGE = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")  # JPEG, PNG, GIF, WebP


class RedactedFieldsMixin:
    """An operator some of whose fields are shown without signatures, tokens, keys and payloads."""

    #: What these fields are, as rendered.
    _rendered: Mapping[str, Any] = MappingProxyType({})

    def redactions(self) -> Mapping[str, Callable[[Any], Any]]:
        """Name the fields, and what makes of each value the one that is shown."""
        raise NotImplementedError

    def rendered_value(self, name: str) -> Any:
        """Return the value of a field that is shown redacted."""
        return self._rendered[name] if name in self._rendered else getattr(self, name)

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Render, then keep the values aside.

        Airflow calls this one, and not ``render_template_fields``, for mapped tasks too.
        """
        render = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:
            render(parent, *args, **kwargs)
            return
        for name, value in self._rendered.items():  # of an earlier rendering
            setattr(self, name, value)
        render(parent, *args, **kwargs)
        redactions = self.redactions()
        self._rendered = {name: getattr(self, name) for name in redactions}
        for name, redact in redactions.items():
            setattr(self, name, redact(self._rendered[name]))


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


def redact_extra_fields(value: Any) -> Any:
    """Return extra fields of a request as they may be shown: any of them may be a secret, so only their names are."""
    given = from_text(value)
    return dict.fromkeys(given, "***") if isinstance(given, Mapping) else value


def redact_extra_args(value: Any) -> Any:
    """Return upload arguments as they may be shown: the customer's own keys (SSE-C) are secrets."""
    given = from_text(value)
    if not isinstance(given, Mapping):
        return value
    return {name: "***" if "SSECustomerKey" in str(name) else item for name, item in given.items()}


def redact_task(value: Any) -> Any:
    """Return a finished task as it may be shown: without the queries of its URLs."""
    task = from_text(value)
    if not isinstance(task, Mapping):
        return task
    shown = {
        name: [
            {**entry, "url": redact_url(str(entry.get("url")))} for entry in task[name] if isinstance(entry, Mapping)
        ]
        for name in RESULT_KINDS
        if isinstance(task.get(name), list)
    }
    return {**task, **shown}
