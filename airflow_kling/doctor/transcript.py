"""Keeps what was sent and answered, without secrets and payloads: something to attach to a bug report."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from airflow_kling.api.answer import Answer
from airflow_kling.api.redact import redact_url

MAX_BODY = 2000  # characters of a body
MAX_TEXT = 300  # characters of a text in a body: a prompt is shorter, an image in base64 is not
_HEADERS = ("content-type", "date", "retry-after", "server", "via", "location")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")


class Transcript:
    """The exchanges of the doctor with the API, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.dates: list[str] = []

    def record(self, request: httpx.Request, answer: Answer) -> None:
        """Note a request and its answer."""
        if date := answer.header("date"):
            self.dates.append(date)
        shown = {name: redact(value) for name in _HEADERS if (value := answer.header(name))}
        self.lines += [
            f"> {request.method} {redact_url(str(request.url))}",
            *([f"> {shown_body(request.content)}"] if request.content else []),
            f"< HTTP {answer.status} {json.dumps(shown)}",
            f"< {shown_body(answer.content)}",
        ]

    def note(self, text: str) -> None:
        """Note what is no exchange, such as an error."""
        self.lines.append(f"! {redact(text)}")


def shown_body(content: bytes) -> str:
    """Return a body as it may be shown: URLs without their queries, long texts cut, no base64."""
    try:
        text = json.dumps(_shortened(json.loads(content)), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = " ".join(content.decode("utf-8", "replace").split())
    return redact(text)[:MAX_BODY]


def redact(text: str) -> str:
    """Remove the queries of URLs from a text: they may be signed."""
    return _URL.sub(lambda match: redact_url(match[0]), text)


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"<{len(value)} characters>"
    return value
