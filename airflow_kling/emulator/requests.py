"""Decides whether Kling would accept a create request, and puts an accepted one into a :class:`Creation`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_kling.emulator.endpoints import Endpoint
from airflow_kling.emulator.errors import kling_error
from airflow_kling.emulator.fields import invalid, references_in, without_bytes
from airflow_kling.emulator.references import Reference, ReferenceStore


@dataclass(frozen=True)
class Creation:
    """A request that Kling accepts.

    :param fields: the checked fields, under the route's names for them; images are :class:`Reference` objects
    :param body: the request as sent, images in base64 replaced by ``{"sha256", "bytes"}``
    """

    fields: Mapping[str, Any]
    body: dict[str, Any]

    @property
    def external_task_id(self) -> str | None:
        """The caller's own id of the task."""
        return self.fields.get("external_task_id") or None

    @property
    def callback_url(self) -> str | None:
        """Where changes of status are posted."""
        return self.fields.get("callback_url") or None

    @property
    def prompt(self) -> str:
        """The prompt, empty without one."""
        return self.fields.get("prompt") or ""

    @property
    def watermark(self) -> bool:
        """Whether watermarked copies are made too."""
        return bool(self.fields.get("watermark_info"))

    @property
    def references(self) -> list[Reference]:
        """All reference images."""
        return list(references_in(dict(self.fields)))


def validate(body: Any, endpoint: Endpoint, store: ReferenceStore) -> Creation:
    """Check a request body.

    :raises ApiError: 400 with code 1200 or 1201
    """
    if not isinstance(body, dict):
        raise kling_error(1200, "request body must be a JSON object")
    # Kling may ignore such a field in silence. Here the mistake shows.
    if foreign := sorted(endpoint.foreign_fields & body.keys()):
        raise invalid(f"parameter '{foreign[0]}' is not supported")
    fields, shown = {}, dict(body)
    for name, (spelling, rule) in endpoint.rules.items():
        fields[name] = rule(spelling, body.get(spelling), store)
        if any(references_in(fields[name])):
            shown[spelling] = without_bytes(fields[name])
    if problem := endpoint.problem(fields):
        raise invalid(problem)
    return Creation(fields, shown)
