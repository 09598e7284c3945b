"""Defines a Kling task: its status, its results, and its form in XCom.

Source: Kling's API reference [C].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.values import RESULT_KINDS
from airflow_kling.exceptions import KlingInputError

SUBMITTED, PROCESSING, SUCCEED, FAILED = "submitted", "processing", "succeed", "failed"
TERMINAL = frozenset({SUCCEED, FAILED})
KNOWN_STATUSES = TERMINAL | {SUBMITTED, PROCESSING}


_TIMESTAMP = TypeAdapter(datetime)


class Result(BaseModel):
    """One file that a task has made.

    :param kind: ``image``, ``video`` or ``audio``; ``file`` of a list that is not known.
    :param index: its number in the answer, else its position.
    :param url: where it lies for now; signed, and deleted after 30 days [C].
    :param id: Kling's own id, which later routes take; images have none.
    :param duration: seconds, as text [C]; images have none.
    """

    model_config = ConfigDict(frozen=True)

    kind: str = "image"
    index: int = Field(strict=True)
    url: str = Field(default="", repr=False)
    id: str | None = None
    duration: str | None = None

    def to_xcom(self) -> dict[str, Any]:
        """Return the entry of the result list in XCom."""
        more = {"id": self.id, "duration": self.duration} if self.kind != "image" else {}
        return {"index": self.index, "url": self.url, **more}


class TaskStatus(NamedTuple):
    """As much of a task as somebody who waits for it needs.

    :param created_at: epoch seconds.
    :param complete: there is a result, and every result has a URL.
    """

    kling_task_id: str
    status: str
    created_at: float | None
    complete: bool = True

    @property
    def finished(self) -> bool:
        """Whether it has failed, or has succeeded with all its results; they may come some seconds after the status."""
        return self.status == FAILED or (self.status == SUCCEED and self.complete)

    @property
    def status_known(self) -> bool:
        """Whether the status is a documented one."""
        return self.status in KNOWN_STATUSES


class KlingTask(BaseModel):
    """A task as the API tells of it: one value from the answer through XCom to the archive.

    :param route: the route that made it.
    :param status: ``submitted``, ``processing``, ``succeed`` or ``failed``; anything else is kept as it came and
        means "not finished yet".
    :param status_message: the reason of a failure, word for word.
    :param results: the files that it made, in the order of the answer; empty until ``succeed``.
    :param created_at: UTC; the API's Unix milliseconds.
    :param unit_deduction: units billed, a decimal number as text, e.g. ``"8"``.
    """

    model_config = ConfigDict(frozen=True)

    kling_task_id: str
    route: str = DEFAULT_ROUTE
    external_task_id: str | None = None
    status: str = SUBMITTED
    status_message: str = ""
    results: tuple[Result, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    unit_deduction: str | None = None
    request_id: str | None = None

    @field_validator("created_at", "updated_at", mode="before")
    @classmethod
    def _lenient_time(cls, value: Any) -> datetime | None:
        """An odd timestamp must not lose a paid result."""
        try:
            return _TIMESTAMP.validate_python(value).astimezone(UTC)
        except (ValidationError, OverflowError, OSError):
            return None

    @property
    def complete(self) -> bool:
        """Whether there is a result, and every result has a URL."""
        return bool(self.results) and all(result.url for result in self.results)

    @property
    def finished(self) -> bool:
        """See :attr:`TaskStatus.finished`."""
        return self.brief().finished

    @property
    def status_known(self) -> bool:
        """See :attr:`TaskStatus.status_known`."""
        return self.brief().status_known

    @property
    def billed_units(self) -> float | None:
        """The units billed as a number; None where the text is none."""
        try:
            units = float(self.unit_deduction or "")
        except ValueError:
            return None
        return units if math.isfinite(units) else None

    def brief(self) -> TaskStatus:
        """Return as much as somebody who waits for it needs."""
        created = self.created_at.timestamp() if self.created_at else None
        return TaskStatus(self.kling_task_id, self.status, created, self.status == SUCCEED and self.complete)

    def to_xcom(self) -> dict[str, Any]:
        """Return the task as tasks downstream see it (URLs included: they expire, archive soon)."""
        lists: dict[str, list[dict[str, Any]]] = {"images": []}
        for name, kind in RESULT_KINDS.items():
            if entries := [result.to_xcom() for result in self.results if result.kind == kind]:
                lists[name] = entries
        return {
            "kling_task_id": self.kling_task_id,
            "route": self.route,
            "external_task_id": self.external_task_id,
            "status": self.status,
            "status_message": self.status_message,
            **lists,
            "created_at": self.created_at and self.created_at.isoformat(),
            "updated_at": self.updated_at and self.updated_at.isoformat(),
            "unit_deduction": self.unit_deduction,
        }

    @classmethod
    def from_xcom(cls, value: Any) -> KlingTask:
        """Read what :meth:`to_xcom` wrote, also before there were routes.

        :raises KlingInputError: it is not a task.
        """
        if not isinstance(value, Mapping) or not value.get("kling_task_id"):
            raise KlingInputError(
                f"task is a {type(value).__name__} without kling_task_id, it must be a finished task (the sensor's "
                "output) or a Kling task id; nothing was archived."
            )
        results = [
            {"kind": kind, "index": position if entry.get("index") is None else entry["index"], **_texts(entry)}
            for name, kind in RESULT_KINDS.items()
            for position, entry in enumerate(value.get(name) or ())
            if isinstance(entry, Mapping)
        ]
        known = {name: value[name] for name in cls.model_fields if value.get(name) is not None}
        texts = {name: str(known[name]) for name in ("kling_task_id", "unit_deduction") if name in known}
        try:
            return cls.model_validate({**known, **texts, "results": results})
        except ValidationError as error:
            wrong = ".".join(map(str, error.errors()[0]["loc"]))
            raise KlingInputError(
                f"task is not a finished task: {wrong} cannot be read ({error.errors()[0]['msg'].lower()}); nothing "
                "was archived. Pass the sensor's output, or the Kling task id."
            ) from None


def _texts(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(entry[name]) for name in ("url", "id", "duration") if entry.get(name) is not None}
