"""Defines what the requests of all routes share: field types, common fields, and errors that name field and limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from airflow_kling.exceptions import KlingInputError

MAX_PROMPT = 2500  # characters, prompt and negative_prompt [seed]
URL_SCHEMES = ("http://", "https://")


def _blank_to_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _http_url(value: str | None) -> str | None:
    if value and not value.startswith(URL_SCHEMES):
        raise ValueError("is not an http(s) URL")
    return value


#: A blank optional text counts as not given, so that a template may render to nothing.
OptionalText = Annotated[str | None, BeforeValidator(_blank_to_none)]
OptionalUrl = Annotated[str | None, BeforeValidator(_blank_to_none), AfterValidator(_http_url)]
Prompt = Annotated[str | None, Field(max_length=MAX_PROMPT), BeforeValidator(_blank_to_none)]
#: An image as it is sent: a URL or raw base64.
ImageText = Annotated[str, StringConstraints(min_length=1)]


class KlingRequest(BaseModel):
    """A generation as it is asked for; reference media are URLs or raw base64 already.

    :param callback_url: gets a POST at every change of the status [C].
    :param external_task_id: unique for each account [seed].
    """

    # The model is built when it first validates: a DAG file that is parsed imports more routes than it uses.
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True, defer_build=True
    )

    callback_url: OptionalUrl = None
    external_task_id: OptionalText = None

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
