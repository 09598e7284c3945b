"""Defines an answer over HTTP, whichever library received it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import httpx


class Answer(NamedTuple):
    """One answer, read to its end and decoded."""

    status: int
    headers: Iterable[tuple[bytes, bytes]]
    content: bytes

    def header(self, name: str) -> str:
        """Return a header; empty where there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), "")

    def as_response(self) -> httpx.Response:
        """Return it as :mod:`airflow_kling.api.protocol` reads it."""
        headers = [(name, value) for name, value in self.headers if name.lower() != b"content-encoding"]
        return httpx.Response(self.status, headers=headers, content=self.content)
