"""Says in words what a request's model allows, for the tables of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_kling.api.route import Route

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}


def limits_of(route: Route) -> dict[str, str]:
    """Return what each field may be: its kind, its limits, its default or that it is required."""
    schema = route.request.model_json_schema()
    required, definitions = schema.get("required", []), schema.get("$defs", {})
    return {
        name: _kind(route, name, _describe(field, definitions))
        + ("; required" if name in required else _default(field))
        for name, field in schema["properties"].items()
    }


def _kind(route: Route, name: str, described: str) -> str:
    """A picture is sent as a text, a URL or base64, but that is not what an author gives."""
    return "picture" if name in route.media and described == "text" else described


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    return "" if default is None else f"; default {_value(default)}"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | int | float) else f"`{value}`"


def _describe(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _describe(definitions[field["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in field:
        kinds = [one for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(_describe(one, definitions) for one in kinds))
    if "enum" in field:
        return _choices(field["enum"])
    if "const" in field:
        return _value(field["const"])
    if field.get("type") == "array":
        return f"list{_between(field.get('minItems'), field.get('maxItems'))}"
    kind = _KINDS[field["type"]] if "type" in field else "any"
    if most := field.get("maxLength"):
        return f"{kind}, at most {most} characters"
    return f"{kind}{_between(field.get('minimum'), field.get('maximum'))}"


def _choices(values: list[Any]) -> str:
    """Name the choices; numbers in their order are named by the first and the last."""
    numbers = [value for value in values if str(value).isdecimal()]
    in_order = [str(number) for number in range(int(numbers[0]), int(numbers[-1]) + 1)] if numbers else []
    if len(numbers) < 4 or in_order != [str(number) for number in numbers]:
        return ", ".join(map(_value, values))
    others = [_value(value) for value in values if value not in numbers]
    return ", ".join([f"{_value(numbers[0])} to {_value(numbers[-1])}", *others])


def _between(least: float | None, most: float | None) -> str:
    if least is not None and least == most:
        return f" of {most:g}"
    if least is None:
        return "" if most is None else f", at most {most:g}"
    return f", at least {least:g}" if most is None else f", {least:g} to {most:g}"
