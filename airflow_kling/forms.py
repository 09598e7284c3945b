"""Makes the fields of a DAG's form from a route's row, so that the form has the limits that the API has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from airflow.providers.common.compat.sdk import Param

from airflow_kling.api.routes import find_route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from airflow_kling.api.route import Route

_TYPES = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
#: JSON schema's name of a limit, by what a field's metadata calls it.
_NUMBERS = {"ge": "minimum", "le": "maximum"}
_LENGTHS = {"array": {"min_length": "minItems", "max_length": "maxItems"}, "string": {"max_length": "maxLength"}}
_ONE_LINE = 200  # characters; a text that may be longer gets several lines


def field_param(route_name: str, name: str, **schema: Any) -> Param:
    """Return a param for a field of a route: its type, its choices, its limits and its default are those of the row.

    A field that may be left out may be empty in the form. A list is one of texts, one a line.

    :param route_name: such as ``image-to-video``.
    :param name: the field.
    :param schema: more of the param, such as ``title`` and ``description``; a ``default`` replaces the row's.
    :raises KlingInputError: there is no such route.
    """
    route = find_route(route_name)
    field = route.request.model_fields[name]
    described = {**_describe(route, name, field), **schema}
    if "default" in described:
        return Param(described.pop("default"), **described)
    return Param(**described)


def _describe(route: Route, name: str, field: FieldInfo) -> dict[str, Any]:
    kinds, choices = _kinds(field.annotation), list(_choices(field.annotation))
    kind = "string" if choices or not kinds else _TYPES.get(kinds[0], "string")
    limits = {**_NUMBERS, **_LENGTHS.get(kind, {})}
    found: dict[str, Any] = {"type": kind}
    for limit in field.metadata:
        found |= {word: getattr(limit, ours) for ours, word in limits.items() if getattr(limit, ours, None) is not None}
    if choices:
        found["enum"] = choices
    if kind == "array":
        found["items"] = {"type": "string"}
    if found.get("maxLength", 0) > _ONE_LINE:
        found["format"] = "multiline"
    if name == "model_name":
        found["examples"] = list(dict.fromkeys(one for at in route.endpoints.values() for one in at.models))
    if field.is_required():
        return found
    found["default"] = field.default
    if field.default is None:
        found["type"] = ["null", kind]
        if choices:
            found["enum"] = [None, *choices]
    return found


def _kinds(annotation: Any) -> list[type]:
    if isinstance(annotation, type) or get_origin(annotation) in _TYPES:
        return [] if annotation is type(None) else [get_origin(annotation) or annotation]
    return [kind for argument in get_args(annotation) for kind in _kinds(argument)]


def _choices(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) not in _TYPES:
        for argument in get_args(annotation):
            yield from _choices(argument)
