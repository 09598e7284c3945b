"""Defines what the requests of all routes share: field types, common fields, and errors that name field and limit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from airflow_kling.api.values import from_text, is_blank, plain, shortened
from airflow_kling.exceptions import KlingInputError

MAX_PROMPT = 2500  # characters, prompt and negative_prompt [seed]
URL_SCHEMES = ("http://", "https://")


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PYTHON_OBJECT = re.compile(r"<[^<>]{1,200} at 0x[0-9a-fA-F]{4,}>")


def _plain_text(value: str | None) -> str | None:
    if value and (found := _CONTROL.search(value)):
        raise ValueError(f"has the control character {found[0]!r} in it; remove it, or read its source as UTF-8")
    if value and (found := _PYTHON_OBJECT.search(value)):
        raise ValueError(f"has {shortened(found[0])} in it, a Python object; give the text that it stands for")
    return value


def _http_url(value: str | None) -> str | None:
    if value and not value.startswith(URL_SCHEMES):
        raise ValueError("is not an http(s) URL")
    return value


OptionalText = Annotated[str | None, AfterValidator(_plain_text)]
OptionalUrl = Annotated[str | None, AfterValidator(_plain_text), AfterValidator(_http_url)]
Prompt = Annotated[str | None, Field(max_length=MAX_PROMPT), AfterValidator(_plain_text)]
#: An image as it is sent: a URL or raw base64.
ImageText = Annotated[str, StringConstraints(min_length=1)]


class KlingRequest(BaseModel):
    """A generation as it is asked for; reference media are URLs or raw base64 already.

    None, a blank text and what spreadsheets have for an empty cell (NaN) count as not given, in every field.

    :param callback_url: gets a POST at every change of the status [C].
    :param external_task_id: unique for each account [seed].
    """

    # The model is built when it first validates: a DAG file that is parsed imports more routes than it uses.
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True, defer_build=True
    )

    callback_url: OptionalUrl = None
    external_task_id: OptionalText = None

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if not is_blank(value)}

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_another_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would turn into a text or a number, though nobody can have meant that."""
        kinds = set(_kinds(cls.model_fields[info.field_name or ""].annotation))
        if isinstance(value, bool) and kinds <= {str, int, float}:
            raise ValueError("give a number" if kinds & {int, float} else "give a text")
        if isinstance(value, bytes | bytearray) and str in kinds:
            raise ValueError("give a text, which bytes.decode() makes of them")
        if isinstance(value, float) and math.isinf(value):
            raise ValueError("no number is meant by that")
        return from_text(value) if kinds == {dict} else plain(value)

    @classmethod
    def text_fields(cls) -> tuple[str, ...]:
        """Name the fields that hold a text, and so never what a text may be read as."""
        return tuple(name for name, field in cls.model_fields.items() if set(_kinds(field.annotation)) == {str})

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Validate all fields.

        :raises KlingInputError: names each wrong field, its limit and the value found.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise _input_error(error.errors(include_url=False), fields) from None

    @classmethod
    def check_literals(cls, fields: Mapping[str, Any]) -> None:
        """Validate the fields given; those left out are templates, which :meth:`parse` checks when the task runs.

        :raises KlingInputError: as :meth:`parse`.
        """
        try:
            cls.model_validate(fields)
        except ValidationError as error:
            wrong = [e for e in error.errors(include_url=False) if e["loc"] and e["loc"][0] in fields]
            if wrong:
                raise _input_error(wrong, fields) from None


def _kinds(annotation: Any) -> list[type]:
    """Return the types that an annotation allows, None left out."""
    if get_origin(annotation) is Literal:
        return [type(value) for value in get_args(annotation)]
    if isinstance(annotation, type) or get_origin(annotation) in (list, dict, tuple):
        return [] if annotation is type(None) else [get_origin(annotation) or annotation]
    return [kind for argument in get_args(annotation) for kind in _kinds(argument)]


_LIMITS: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "string_too_long": lambda c, v: f"has {len(v)} characters, at most {c['max_length']} are allowed",
    "string_too_short": lambda c, v: "is empty",
    "too_long": lambda c, v: f"has {len(v)} entries, at most {c['max_length']} are allowed",
    "too_short": lambda c, v: f"has {len(v)} entries, at least {c['min_length']} is needed",
    "greater_than_equal": lambda c, v: f"is {shortened(v)}, the least is {c['ge']}",
    "less_than_equal": lambda c, v: f"is {shortened(v)}, the greatest is {c['le']}",
    "literal_error": lambda c, v: f"is {shortened(v)}, must be one of {c['expected']}",
    "missing": lambda c, v: "is required",
    "extra_forbidden": lambda c, v: "is not a field of the API",
    "string_unicode": lambda c, v: f"is {shortened(v)}: no valid unicode, read its source as UTF-8",
    "value_error": lambda c, v: f"is {shortened(v)}: {c['error']}",
}


def _input_error(errors: list[ErrorDetails], fields: Mapping[str, Any]) -> KlingInputError:
    def sentence(error: ErrorDetails) -> str:
        path = ".".join(str(part) for part in error["loc"])
        value = error["input"]
        describe = _LIMITS.get(error["type"])
        if describe is None:
            return f"{path} is a {type(value).__name__} ({shortened(value)}): {error['msg'].lower()}"
        return f"{path} {describe(error.get('ctx', {}), value)}"

    return KlingInputError(f"{'; '.join(map(sentence, errors))}; nothing was submitted.")
