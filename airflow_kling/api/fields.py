"""Defines what the requests of all routes share: field types, common fields, and errors that name field and limit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
    with_config,
)
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from airflow_kling.api.rules import ModelTable, Rule, broken_rules, model_rules
from airflow_kling.api.values import from_text, is_blank, plain, shortened
from airflow_kling.exceptions import KlingInputError

MAX_PROMPT = 2500  # characters, prompt and negative_prompt [seed]
URL_SCHEMES = ("http://", "https://")


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIGITS = re.compile(r"[0-9]{1,40}")
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
PLAIN = AfterValidator(_plain_text)
RequiredText = Annotated[str, StringConstraints(min_length=1), PLAIN]
RequiredPrompt = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT), PLAIN]
#: An image as it is sent: a URL or raw base64.
ImageText = Annotated[str, StringConstraints(min_length=1)]


#: Asks for a copy with Kling's watermark beside the result [C].
Watermark = dict[Literal["enabled"], bool] | None
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]  # of images [seed]
ImageCount = Annotated[int, Field(ge=1, le=9)]  # [C]


def plain_or(key: str) -> BeforeValidator:
    """Let an item of a list be given plain, or as the object with it under ``key`` that the API takes."""
    return BeforeValidator(partial(_as_object, key))


def _as_object(key: str, item: Any) -> Any:
    if not isinstance(item, Mapping):
        return {key: item}
    return {name: value for name, value in item.items() if not is_blank(value)}


def _whole_id(value: Any) -> int:
    value = plain(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    if type(value) is not int:
        raise ValueError("give an int, or a text of digits; a float has lost some of them")
    return value


#: A 64-bit id, whole: many are beyond 2**53, where a float has no room for the last digits [C].
ElementId = Annotated[int, BeforeValidator(_whole_id), Field(ge=1, le=2**63 - 1)]


@with_config(ConfigDict(extra="forbid"))
class Element(TypedDict):
    """A subject of Kling's element library."""

    element_id: ElementId


ElementItem = Annotated[Element, plain_or("element_id")]


@with_config(ConfigDict(extra="forbid"))
class Image(TypedDict):
    """A reference image of a list."""

    image: ImageText


ImageItem = Annotated[Image, plain_or("image")]


def too_many_references(
    images: Sequence[Any] | None, elements: Sequence[Any] | None, most: int, *, beside: str = ""
) -> str | None:
    """Say that images and elements are too many together; None where they are not."""
    counts = len(images or ()), len(elements or ())
    if sum(counts) <= most:
        return None
    allowed = f"at most {most} together are allowed{beside and ' beside '}{beside}"
    return f"there are {counts[0]} images and {counts[1]} elements, {allowed}"


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

    #: What each model takes, where models differ.
    model_table: ClassVar[ModelTable] = MappingProxyType({})
    #: What holds between fields.
    rules: ClassVar[tuple[Rule, ...]] = ()

    callback_url: OptionalUrl = None
    external_task_id: OptionalText = None
    #: What the API has learned since, by its own names; may hold secrets, so only the names are recorded.
    extra_fields: dict[str, JsonValue] = Field(default={}, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        def is_absent(name: str, value: Any) -> bool:
            field = cls.model_fields.get(name)
            optional_list = field is not None and not field.is_required() and set(_kinds(field.annotation)) == {list}
            return is_blank(value) or (optional_list and plain(from_text(value)) in ([], ()))

        return {name: value for name, value in fields.items() if not is_absent(name, value)}

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
        return plain(from_text(value)) if kinds and kinds <= {dict, list} else plain(value)

    @field_validator("*")
    @classmethod
    def _note_as_valid(cls, value: Any, info: ValidationInfo) -> Any:
        """Tell :meth:`check_literals` which fields are valid, though others are missing."""
        if info.context is not None and info.field_name:
            info.context[info.field_name] = value
        return value

    @model_validator(mode="after")
    def _keep_rules(self, info: ValidationInfo) -> Self:
        if info.context is None and (broken := self.broken_rules()):
            raise ValueError("; ".join(broken))
        return self

    def broken_rules(self, known: Collection[str] | None = None) -> list[str]:
        """Return a clause for each rule that the request breaks.

        :param known: the fields that rules may read; all when None.
        """
        rules = (_UNKNOWN_ONLY, *self.rules, *model_rules(self.model_table))
        return broken_rules(rules, self, type(self).model_fields if known is None else known)

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
    def check_literals(cls, fields: Mapping[str, Any], *, partly: Collection[str] = ()) -> None:
        """Validate the fields given; those left out are templates, which :meth:`parse` checks when the task runs.

        :param partly: fields given that have a template within, so no rule between fields reads them.
        :raises KlingInputError: as :meth:`parse`.
        """
        valid: dict[str, Any] = {}
        try:
            if not cls._are_defaults(fields):  # most of them are, and to build the model takes milliseconds
                cls.model_validate(fields, context=valid)
        except ValidationError as error:
            wrong = [e for e in error.errors(include_url=False) if _is_of(e, fields)]
            if wrong:
                raise _input_error(wrong, fields) from None
        known = {name for name in fields if name in valid or not cls.model_fields[name].is_required()} - {*partly}
        if broken := cls.model_construct(**valid).broken_rules(known):
            raise KlingInputError(f"{'; '.join(broken)}; nothing was submitted.")

    @classmethod
    def _are_defaults(cls, fields: Mapping[str, Any]) -> bool:
        known = cls.model_fields
        return all(
            name in known and not known[name].is_required() and (value is None or value is known[name].default)
            for name, value in fields.items()
        )


def _is_of(error: ErrorDetails, fields: Mapping[str, Any]) -> bool:
    """Tell whether an error is about a value of these fields, and not about a field that is not there."""
    path = error["loc"]
    return path[0] in fields and (len(path) > 1 or error["type"] != "missing")


def _known_extra(request: Any) -> str | None:
    """Say which extra field has a parameter; never its value, which may be a secret."""
    if known := sorted(request.extra_fields.keys() & type(request).model_fields.keys()):
        return f"extra_fields has {known[0]}, which is a field of the route: give it as a parameter"
    return None


_UNKNOWN_ONLY = Rule(("extra_fields",), _known_extra)


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
        if not error["loc"]:  # a rule between fields, which says all of it
            return str(error["ctx"]["error"])
        path = ".".join(str(part) for part in error["loc"])
        if error["loc"][0] == "extra_fields":  # whose values may be secrets
            return f"{path}: {error['msg'].lower()}"
        value = error["input"]
        describe = _LIMITS.get(error["type"])
        if describe is None:
            return f"{path} is a {type(value).__name__} ({shortened(value)}): {error['msg'].lower()}"
        return f"{path} {describe(error.get('ctx', {}), value)}"

    return KlingInputError(f"{'; '.join(map(sentence, errors))}; nothing was submitted.")
