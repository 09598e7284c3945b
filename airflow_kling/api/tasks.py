"""Requests and answers: the documented limits of the API are the validators of these models.

Source of the answers: Kling's API reference [C]; of the requests: :mod:`airflow_kling.api.limits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from airflow_kling.api.gateways import Gateway
from airflow_kling.api.limits import MAX_IMAGES, MAX_PROMPT, MAX_SUBJECTS, URL_SCHEMES, AspectRatio
from airflow_kling.exceptions import KlingInputError

SUBMITTED, PROCESSING, SUCCEED, FAILED = "submitted", "processing", "succeed", "failed"
TERMINAL = frozenset({SUCCEED, FAILED})
KNOWN_STATUSES = TERMINAL | {SUBMITTED, PROCESSING}


def _blank_to_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _http_url(value: str | None) -> str | None:
    if value and not value.startswith(URL_SCHEMES):
        raise ValueError("is not an http(s) URL")
    return value


OptionalText = Annotated[str | None, BeforeValidator(_blank_to_none)]
Prompt = Annotated[str | None, Field(max_length=MAX_PROMPT), BeforeValidator(_blank_to_none)]


class MultiImageToImageRequest(BaseModel):
    """One generation as it is asked for; references are already URLs or raw base64.

    A blank optional text counts as not given, so that a template may render to nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)

    subject_images: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1, max_length=MAX_SUBJECTS, repr=False
    )
    prompt: Prompt = None
    model_name: OptionalText = None
    scene_image: OptionalText = Field(default=None, repr=False)
    style_image: OptionalText = Field(default=None, repr=False)
    n: int = Field(default=1, ge=1, le=MAX_IMAGES)
    aspect_ratio: AspectRatio = "16:9"
    negative_prompt: Prompt = None
    watermark_info: dict[Literal["enabled"], bool] | None = None
    callback_url: Annotated[
        str | None, BeforeValidator(_blank_to_none), AfterValidator(lambda v: v and _http_url(v))
    ] = None
    external_task_id: OptionalText = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> MultiImageToImageRequest:
        """Validate; one :class:`KlingInputError` that names each wrong field, its limit and the value found."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise _input_error(error.errors(include_url=False), fields) from None

    @classmethod
    def check_literals(cls, fields: Mapping[str, Any]) -> None:
        """Validate only the fields given: what is templated is left out and checked at run time by :meth:`parse`."""
        try:
            cls.model_validate(fields)
        except ValidationError as error:
            wrong = [e for e in error.errors(include_url=False) if e["loc"] and e["loc"][0] in fields]
            if wrong:
                raise _input_error(wrong, fields) from None

    def for_gateway(self, gateway: Gateway) -> MultiImageToImageRequest:
        """The request as this gateway takes it, with its default model filled in.

        :raises KlingInputError: the gateway has another limit, or no such model or field.
        """
        count = len(self.subject_images)
        if not gateway.min_subjects <= count <= gateway.max_subjects:
            raise KlingInputError(
                f"subject_images has {count} image(s), but gateway {gateway.name!r} takes "
                f"{gateway.min_subjects} to {gateway.max_subjects}; nothing was submitted."
            )
        model_name = self.model_name or gateway.models[0]
        if model_name not in gateway.models:
            raise KlingInputError(
                f"model_name is {model_name!r}, but gateway {gateway.name!r} offers {', '.join(gateway.models)}; "
                "nothing was submitted."
            )
        for name in ("negative_prompt", "watermark_info"):
            if getattr(self, name) is not None and name not in gateway.extra_fields:
                raise KlingInputError(
                    f"{name} is given, but gateway {gateway.name!r} does not take it: leave it out or use "
                    "'cometapi-v2' or 'official' as the connection's gateway; nothing was submitted."
                )
        return self.model_copy(update={"model_name": model_name})


_LIMITS: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "string_too_long": lambda c, v: f"has {len(v)} characters, at most {c['max_length']} are allowed",
    "string_too_short": lambda c, v: "is empty",
    "too_long": lambda c, v: f"has {len(v)} entries, at most {c['max_length']} are allowed",
    "too_short": lambda c, v: f"has {len(v)} entries, at least {c['min_length']} is needed",
    "greater_than_equal": lambda c, v: f"is {v!r}, the least is {c['ge']}",
    "less_than_equal": lambda c, v: f"is {v!r}, the greatest is {c['le']}",
    "literal_error": lambda c, v: f"is {v!r}, must be one of {c['expected']}",
    "missing": lambda c, v: "is required",
    "extra_forbidden": lambda c, v: "is not a field of the API",
    "value_error": lambda c, v: f"is {_short(v)}: {c['error']}",
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _input_error(errors: list[ErrorDetails], fields: Mapping[str, Any]) -> KlingInputError:
    def sentence(error: ErrorDetails) -> str:
        path = ".".join(str(part) for part in error["loc"])
        value = error["input"]
        describe = _LIMITS.get(error["type"])
        if describe is None:
            return f"{path} is a {type(value).__name__}: {error['msg'].lower()}"
        return f"{path} {describe(error.get('ctx', {}), value)}"

    return KlingInputError(f"{'; '.join(map(sentence, errors))}; nothing was submitted.")


_TIMESTAMP = TypeAdapter(datetime)


class KlingImage(BaseModel):
    """One result image.

    :param index: its number in the answer, else its position.
    :param url: where it lies for now; signed, and deleted after 30 days [C].
    """

    model_config = ConfigDict(frozen=True)

    index: int
    url: str = Field(default="", repr=False)


class TaskStatus(NamedTuple):
    """As much of a task as somebody who waits for it needs.

    :param created_at: epoch seconds.
    """

    kling_task_id: str
    status: str
    created_at: float | None

    @property
    def finished(self) -> bool:
        """The status is terminal."""
        return self.status in TERMINAL

    @property
    def status_known(self) -> bool:
        """The status is a documented one."""
        return self.status in KNOWN_STATUSES


class KlingTask(BaseModel):
    """A task as the API tells of it.

    :param status: ``submitted``, ``processing``, ``succeed`` or ``failed``; anything else is kept as it came and
        means "not finished yet".
    :param status_message: the reason of a failure, word for word.
    :param images: results, by index; empty until ``succeed``.
    :param created_at: UTC; the API's Unix milliseconds.
    :param unit_deduction: units billed, a decimal number as text, e.g. ``"8"``.
    """

    model_config = ConfigDict(frozen=True)

    kling_task_id: str
    external_task_id: str | None = None
    status: str = SUBMITTED
    status_message: str = ""
    images: tuple[KlingImage, ...] = ()
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
    def finished(self) -> bool:
        """The status is terminal."""
        return self.status in TERMINAL

    @property
    def status_known(self) -> bool:
        """The status is a documented one."""
        return self.status in KNOWN_STATUSES

    def brief(self) -> TaskStatus:
        """As much as somebody who waits for it needs."""
        created = self.created_at.timestamp() if self.created_at else None
        return TaskStatus(self.kling_task_id, self.status, created)

    def to_xcom(self) -> dict[str, Any]:
        """The finished task as tasks downstream see it (URLs included: they expire, archive soon)."""
        return {
            "kling_task_id": self.kling_task_id,
            "external_task_id": self.external_task_id,
            "status": self.status,
            "status_message": self.status_message,
            "images": [{"index": image.index, "url": image.url} for image in self.images],
            "created_at": self.created_at and self.created_at.isoformat(),
            "updated_at": self.updated_at and self.updated_at.isoformat(),
            "unit_deduction": self.unit_deduction,
        }


def billed_units(deduction: object) -> float | None:
    """``unit_deduction`` as a number; an odd text must not fail a task whose results are there."""
    try:
        units = float(str(deduction))
    except ValueError:
        return None
    return units if math.isfinite(units) else None
