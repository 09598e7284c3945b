"""Checks what is literal while a DAG file is parsed, and when the task runs that no template was left over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow_kling.api.values import is_blank
from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.api.route import Route

_JINJA = ("{{", "{%", "{#")
# Of a comment both ends: "{#" alone may be a colour. Airflow's stand-in for a mapped value is text only by mistake.
_LEFT_OVER = re.compile(r"\{\{|\{%|\{#.*?#\}|MappedArgument\(|MappedCell\(", re.DOTALL)
_LISTED = (list, tuple, set, frozenset, Iterator)
_LITERAL = (str, bytes, int, float, PathLike, type(None))


def is_literal(value: Any) -> bool:
    """Tell whether a field holds what it will hold at run time: no template, no XCom or parameter to be resolved."""
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, list | tuple):
        return all(map(is_literal, value))
    if isinstance(value, dict):
        return all(map(is_literal, value.values()))
    return isinstance(value, _LITERAL)


def check_literals(route: Route, fields: Mapping[str, Any], *, as_url: bool = False) -> None:
    """Check the fields of a request as far as they are known: no I/O, no connection.

    :param as_url: every reference is to be sent as a URL.
    :raises KlingInputError: a literal breaks a limit that every gateway has.
    """
    literals = {name: value for name, value in fields.items() if name not in route.media and is_literal(value)}
    partly: set[str] = set()
    for name in route.media:
        if name in fields and (isinstance(fields[name], _LISTED) or is_literal(fields[name])):
            literals |= _check_media(route, name, fields[name], partly, as_url=as_url)
    route.request.check_literals(literals, partly=partly)


def _check_media(route: Route, name: str, value: Any, partly: set[str], *, as_url: bool) -> dict[str, Any]:
    """Check the references of one field; return placeholders for them, for the rules that need no image.

    :param partly: gets the name where more than references is a template.
    """
    from airflow_kling.api.reference_checks import check_reference_literal
    from airflow_kling.api.request import PLACEHOLDER, is_video, media_items, other_keys, reference_of, with_reference

    kind = {"video": is_video(route, name), "as_url": as_url}
    if isinstance(value, Iterator | set | frozenset):
        media_items(route, name, value)  # can be read once or in no order, so never a list
    items = media_items(route, name, value)
    if not isinstance(items, list):
        if items is not None:
            check_reference_literal(items, name=name, **kind)
        return {name: None if items is None else PLACEHOLDER}
    checked = []
    for position, item in enumerate(items):
        reference = reference_of(route, name, item)
        if is_literal(reference):
            check_reference_literal(reference, name=f"{name}[{position}]", **kind)
        if not is_literal(other_keys(route, name, item)):
            partly.add(name)
            item = {key: part for key, part in item.items() if is_literal(part) or key == route.media[name].list_of}
        checked.append(with_reference(route, name, item, PLACEHOLDER))
    return {name: checked}


def check_destination_literal(destination: Any, extra_args: Any = None) -> None:
    """Check a destination that is known by now; a template, an XCom or a parameter waits for the run.

    :param extra_args: upload arguments, which only some destinations take.
    :raises KlingInputError: the destination cannot be one.
    """
    if is_literal(destination):
        from airflow_kling.storage.destination import Destination

        Destination.parse(destination, extra_args if is_literal(extra_args) else None)


def check_rendered(fields: Mapping[str, Any], *, verbatim: Collection[str] = ()) -> None:
    """Refuse texts in which a template is left, as in rows that a task made: Airflow renders none of them.

    :param fields: as they are when the task runs.
    :param verbatim: fields whose author said that braces are no template, by ``{% raw %}`` or ``literal()``.
    :raises KlingInputError: names the field and the template.
    """
    for name, value in fields.items():
        for text in _texts(value):
            if name not in verbatim and (found := _LEFT_OVER.search(text)):
                excerpt = text[found.start() : found.start() + 40].partition("}}")
                raise KlingInputError(
                    f"{name} still has {excerpt[0] + excerpt[1]!r} in it; what comes from a task or a form is not "
                    "rendered, so put the value itself there; nothing was submitted."
                )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def check_named(name: str, value: Any) -> None:
    """Refuse a connection that a template has rendered to nothing: the default may belong to another account.

    :raises KlingInputError: it is no text, or blank.
    """
    if is_blank(value) or not isinstance(value, str):
        raise KlingInputError(f"{name} is {value!r}, it must be the id of a connection; nothing was submitted.")


def one_of(name: str, value: Any, *choices: str) -> Any:
    """Return the value of an option.

    :raises KlingInputError: it is none of the choices.
    """
    if value not in choices:
        raise KlingInputError(f"{name} is {value!r}, must be one of {', '.join(choices)}.")
    return value


def optional_seconds(value: timedelta | float | None, name: str) -> float | None:
    """Return a duration in seconds; None where the author leaves it to the route.

    :raises KlingInputError: it is negative.
    """
    return None if value is None else seconds(value, name)


def seconds(value: timedelta | float, name: str) -> float:
    """Return a duration in seconds.

    :raises KlingInputError: it is negative.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if number < 0:
        raise KlingInputError(f"{name} is {number:g}, it must be at least 0 seconds.")
    return number
