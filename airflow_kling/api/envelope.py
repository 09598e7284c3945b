"""Finds the task, and the error, in the JSON of an answer, however a gateway has wrapped it."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from airflow_kling.api.redact import redact_urls_in

SHORT = 100  # characters of a code, a request id or a status; real ones have 36 at most
MESSAGE = 500  # characters of a message
MOST_LEVELS, DEEPEST = 500, 8  # that are looked through; real answers have five
LONGEST_TEXT = 20_000  # characters in which JSON is looked for

_LENIENT = json.JSONDecoder(strict=False)  # takes line breaks in a text
_MESSAGE_KEYS = ("message", "msg", "error", "detail")
# What stands below these speaks of a task, but is not the one that the answer is about.
_ECHOES = frozenset(
    {"error", "errors", "message", "msg", "detail", "details", "reason", "fail_reason", "task_status_msg"}
    | {"request", "task_info", "task_result"}
)
_TASK_ID = re.compile(rb'"task_id"\s*:\s*"?([\w-]{1,128})')

#: Chooses which items of a list are looked at.
Pick = Callable[[list[Any]], list[Any]]


def printable(value: Any, most: int = SHORT) -> str:
    """Return a text that is safe in a log: one line, no control characters, at most so many characters."""
    text = str(value)[: 4 * most]
    if not text.isprintable():  # asked of the whole first: each poll comes here with an id and a status
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:most]


def decode(content: bytes) -> Any:
    """Decode an answer; None where it is no JSON. A message that is no UTF-8 loses nothing but itself."""
    with suppress(ValueError, RecursionError):
        return json.loads(content)
    for encoding in ("utf-8-sig", "gb18030"):  # the one may leave half of the other's character, a backslash
        text = content.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
        with suppress(ValueError, RecursionError):
            body = _LENIENT.raw_decode(text)[0]  # something may stand behind it
            return body if isinstance(body, dict | list) else None
    return None


def unpacked(value: Any) -> Any:
    """Return what a value holds: the value of a text that is JSON, the item of a list of one."""
    if isinstance(value, str):
        value = _of_text(value) if value.lstrip().startswith(("{", "[")) else value
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _of_text(text: str) -> Any:
    """Return the object in a text, also behind words ("upstream said: {...}"); None where there is none."""
    start = min((at for at in map(text.find, "{[") if at >= 0), default=-1)
    if start >= 0 and len(text) <= LONGEST_TEXT:
        with suppress(ValueError, RecursionError):
            return _LENIENT.raw_decode(text, start)[0]
    return None


def _objects(body: Any, *, skip: frozenset[str], pick: Pick, in_prose: bool) -> Iterator[dict[str, Any]]:
    """Walk over the objects of an answer, the outer ones first.

    :param skip: names below which nothing is looked at.
    :param in_prose: also those that stand in the middle of a text.
    """
    queue: deque[tuple[Any, int]] = deque([(body, 0)])
    for _ in range(MOST_LEVELS):
        if not queue:
            return
        value, depth = queue.popleft()
        if isinstance(value, str) and (in_prose or value.lstrip().startswith(("{", "["))):
            value = _of_text(value)
        below: list[Any] = []
        if isinstance(value, dict):
            yield value
            below = [item for name, item in value.items() if name not in skip]
        elif isinstance(value, list):
            below = pick(value)
        if depth < DEEPEST:
            queue.extend((item, depth + 1) for item in below if isinstance(item, dict | list | str))


def possible_tasks(body: Any, asked_id: str | None) -> Iterator[dict[str, Any]]:
    """Walk over the objects that may be the task of an answer; of a list with several, only the one asked for."""

    def pick(items: list[Any]) -> list[Any]:
        return items if len(items) == 1 else [item for item in items if asked_id and _is_of(item, asked_id)]

    return _objects(body, skip=_ECHOES, pick=pick, in_prose=False)


def _is_of(item: Any, asked_id: str) -> bool:
    if not isinstance(item, dict):
        return False
    info = item.get("task_info")
    return asked_id in (id_of(item), str(info.get("external_task_id")) if isinstance(info, dict) else None)


def id_of(level: dict[str, Any]) -> str:
    """Return the ``task_id`` of an object as text; empty where it has none."""
    value = level.get("task_id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return printable(value, 128) if value else ""


class Said(NamedTuple):
    """What an answer says of an error, each empty where it says nothing."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def read_error(body: Any, documented: frozenset[str]) -> Said:
    """Read code, message and request id of an error, whatever stands around it.

    :param documented: the innermost code of these counts, since what is around it only passes it on.
    """
    levels = list(_objects(body, skip=frozenset(), pick=list, in_prose=True))
    coded = [level for level in levels if code_of(level)]
    chosen = next((level for level in reversed(coded) if code_of(level) in documented), None)
    chosen = chosen or (coded[0] if coded else None)
    near = [*([chosen] if chosen else []), *reversed(levels)]
    return Said(
        code_of(chosen) if chosen else "",
        next(filter(None, map(_message_of, near)), ""),
        next((printable(level["request_id"]) for level in near if level.get("request_id")), ""),
    )


def code_of(level: dict[str, Any]) -> str:
    """Return the code of an object as text; empty where it has none."""
    code = level.get("code")
    if isinstance(code, bool) or not isinstance(code, str | int | float):
        return ""
    return printable(int(code) if isinstance(code, float) and code.is_integer() else code)


def _message_of(level: dict[str, Any]) -> str:
    texts = (level.get(name) for name in _MESSAGE_KEYS)
    return next(
        (redact_urls_in(printable(text, MESSAGE)) for text in texts if isinstance(text, str) and text.strip()), ""
    )


def named_task(body: Any, content: bytes) -> str | None:
    """Return the one Kling task id that an answer names anywhere; None where it names none, or several."""
    if body is None:  # cut off, perhaps behind the id
        found = {one.decode() for one in _TASK_ID.findall(content)}
    else:
        found = {id_of(level) for level in _objects(body, skip=frozenset(), pick=list, in_prose=True)} - {""}
    return found.pop() if len(found) == 1 else None
