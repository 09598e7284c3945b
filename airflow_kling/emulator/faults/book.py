"""Decides which fault applies to a request: what goes wrong, for which requests, how often."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["create", "query", "list", "image", "callback"]
Action = Literal[
    "error",
    "error_after",
    "nested_error",
    "drop",
    "drop_after",
    "delay",
    "delay_after",
    "hold",
    "html",
    "redirect",
    "wrapped",
    "bare_task",
    "fail_task",
    "unknown_status",
    "expire_urls",
    "truncate",
    "endless",
    "bomb",
    "not_an_image",
    "slow",
    "twice",
    "wrong_token",
    "wrong_task",
    "wrong_signature",
]
Fact = Literal["external_task_id", "task_id", "prompt", "account", "gateway", "route", "index", "task_status"]
_REQUESTS: frozenset[Kind] = frozenset({"create", "query", "list", "image"})
# Where an action makes sense; those that are not listed work on every request. Callbacks the emulator sends itself.
_KINDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("drop", "delay"), _REQUESTS | {"callback"}),
    "error_after": frozenset({"create"}),
    "nested_error": frozenset({"create", "query", "list"}),
    "drop_after": frozenset({"create", "query", "list"}),
    "wrapped": frozenset({"create", "query"}),
    "bare_task": frozenset({"create", "query"}),
    "fail_task": frozenset({"create"}),
    "unknown_status": frozenset({"query", "list"}),
    **dict.fromkeys(
        ("expire_urls", "truncate", "endless", "bomb", "not_an_image", "slow"),
        frozenset({"image"}),
    ),
    **dict.fromkeys(("twice", "wrong_token", "wrong_task", "wrong_signature"), frozenset({"callback"})),
}


class Fault(BaseModel):
    """One fault.

    :param on: the kind of request it applies to; ``image`` is the download of any result, ``callback`` one that the
        emulator sends, which ``any`` leaves out
    :param match: facts of a request that must agree: ``external_task_id``, ``task_id``, ``account``, ``gateway``,
        ``route`` and for results ``index``, for callbacks ``task_status`` exactly, ``prompt`` as a part of the prompt
    :param action: what happens, see ``docs/emulator.md``
    :param times: how many requests it applies to, None for all
    :param after: how many matching requests pass before it applies
    :param status: HTTP status of ``error``, ``error_after``, ``nested_error``, ``html`` and ``redirect``
    :param code: service code of ``error``, ``error_after`` and ``nested_error``: a number for Kling's body, a text for
        CometAPI's
    :param message: message of an error; reason of ``fail_task``
    :param body: any JSON to answer in place of the error body
    :param retry_after: ``Retry-After`` header of an error: seconds or an HTTP date
    :param location: where ``redirect`` leads
    :param seconds: length of ``delay`` and ``delay_after``, and of the whole answer with ``slow``
    :param point: when ``hold`` stops a request: ``before`` it is processed, or ``after``, before the answer
    :param task_status: the status in answers with ``unknown_status``
    :param task_id: the task that a callback with ``wrong_task`` names
    :param depth: 2 or 3 levels of ``data`` with ``wrapped``
    :param size: side of the ``bomb`` in pixels; bytes that ``truncate`` sends (default: half)
    """

    model_config = ConfigDict(extra="forbid")

    on: Literal["create", "query", "list", "image", "callback", "any"] = "any"
    match: dict[Fact, str | int] = Field(default_factory=dict)
    action: Action
    times: int | None = Field(default=None, ge=1)
    after: int = Field(default=0, ge=0)
    status: int | None = Field(default=None, ge=200, le=599)
    code: int | str | None = None
    message: str | None = None
    body: Any = None
    retry_after: int | str | None = None
    location: str = "https://example.com/"
    seconds: float = Field(default=1.0, ge=0)
    point: Literal["before", "after"] = "after"
    task_status: str = "reviewing"
    task_id: str = "no-such-task"
    depth: Literal[2, 3] = 2
    size: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check_action(self) -> Fault:
        only = _KINDS.get(self.action, _REQUESTS)
        if self.on != "any" and self.on not in only:
            raise ValueError(f"action {self.action!r} works on {', '.join(sorted(only))}, not on {self.on!r}")
        return self

    def applies_to(self, kind: Kind, facts: Mapping[str, Any]) -> bool:
        """Whether the fault is for such a request."""
        if self.on not in ("any", kind) or kind not in _KINDS.get(self.action, _REQUESTS):
            return False
        if kind == "callback" and self.on == "any" and self.action in ("drop", "delay"):
            return False
        for name, wanted in self.match.items():
            actual = facts.get(name)
            # A part of the prompt is enough, so that a test can mark its tasks by a word.
            if name == "prompt":
                if str(wanted) not in str(actual or ""):
                    return False
            elif actual is None or str(actual) != str(wanted):
                return False
        return True


class _Entry:
    def __init__(self, fault_id: str, fault: Fault) -> None:
        self.fault_id = fault_id
        self.fault = fault
        self.seen = 0
        self.hits = 0
        self.released = False
        self.held: set[Future[None]] = set()


class FaultBook:
    """The faults in force. Safe to use from several threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._serial = itertools.count(1)
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, fault: Fault | Mapping[str, Any] | None = None, /, **fields: Any) -> str:
        """Put a fault in force, given as an object, a dict or keyword arguments.

        :returns: its id
        :raises pydantic.ValidationError: not a fault
        """
        if not isinstance(fault, Fault):
            fault = Fault.model_validate({**(fault or {}), **fields})
        with self._changed:
            fault_id = f"fault-{next(self._serial)}"
            self._entries[fault_id] = _Entry(fault_id, fault)
        return fault_id

    def remove(self, fault_id: str) -> bool:
        """Remove a fault and release what it holds; False if there is none with this id."""
        with self._changed:
            entry = self._entries.pop(fault_id, None)
        if entry is None:
            return False
        # Outside the lock: this runs the callbacks of those that wait.
        _release(entry)
        return True

    def clear(self) -> None:
        """Remove all faults."""
        for fault_id in list(self._entries):
            self.remove(fault_id)

    def release(self, fault_id: str) -> int:
        """Release the requests that a ``hold`` has stopped, and stop no more; returns how many they were."""
        with self._changed:
            entry = self._entries[fault_id]
            entry.released = True
        return _release(entry)

    def wait_until_held(self, fault_id: str, timeout: float = 5.0, count: int = 1) -> None:
        """Wait until a ``hold`` has stopped ``count`` requests.

        :raises TimeoutError: not within ``timeout`` seconds
        """
        with self._changed:
            entry = self._entries[fault_id]
            if not self._changed.wait_for(lambda: len(entry.held) >= count, timeout):
                raise TimeoutError(f"{fault_id} held {len(entry.held)} requests after {timeout} s, not {count}")

    def describe(self) -> list[dict[str, Any]]:
        """Every fault with its id, how many requests it has applied to and how many it holds."""
        with self._changed:
            return [
                {
                    "id": entry.fault_id,
                    "hits": entry.hits,
                    "held": len(entry.held),
                    **entry.fault.model_dump(exclude_unset=True),
                }
                for entry in self._entries.values()
            ]

    def take(self, kind: Kind, facts: Mapping[str, Any]) -> tuple[str, Fault] | None:
        """Count a request and return the oldest fault that applies to it, with its id."""
        with self._changed:
            for entry in self._entries.values():
                fault = entry.fault
                used_up = entry.released or (fault.times is not None and entry.hits >= fault.times)
                if used_up or not fault.applies_to(kind, facts):
                    continue
                # Those that pass are counted too: ``after`` is about them.
                entry.seen += 1
                if entry.seen > fault.after:
                    entry.hits += 1
                    return entry.fault_id, fault
        return None

    def hold(self, fault_id: str) -> Future[None]:
        """Register a waiting request; the future is done when it may go on."""
        released: Future[None] = Future()
        with self._changed:
            entry = self._entries.get(fault_id)
            # Another thread may have removed or released the fault since the request met it.
            if entry is None or entry.released:
                released.set_result(None)
            else:
                entry.held.add(released)
                self._changed.notify_all()
        return released


def _release(entry: _Entry) -> int:
    futures = list(entry.held)
    entry.held.clear()
    for future in futures:
        # The server cancels waiting requests at its end, and with them their futures.
        if future.set_running_or_notify_cancel():
            future.set_result(None)
    return len(futures)
