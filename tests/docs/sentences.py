"""Reads the texts of errors and logs from the provider's source, with `…` for each value in them."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator

from airflow_kling import exceptions
from tests.docs.blocks import CHECKOUT

_PACKAGE = CHECKOUT / "airflow_kling"
#: The emulator speaks as Kling does, the gallery in pages of its own.
_OTHERS = {"emulator", "plugins"}
_EXCEPTIONS = {name for name, kind in vars(exceptions).items() if inspect.isclass(kind)}
_RAISING = _EXCEPTIONS | {
    *("AirflowSensorTimeout", "AirflowSkipException", "ImportError", "AddressRefused"),
    *("refuse", "_refused", "_unknown", "outcome_unknown", "_TooLarge"),
}
_VALUE = re.compile(r"%(?:\.\d+)?[sdrfg]")


@functools.cache
def said() -> set[str]:
    """Every text in the source."""
    return {text for tree in _trees() for node in ast.walk(tree) if (text := _text(node))}


@functools.cache
def raised() -> set[str]:
    """Those that somebody may see as an error."""
    calls = (node for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.Call))
    texts = (_text(argument) for call in calls if _name(call) in _RAISING for argument in call.args)
    return {text for text in texts if text and re.search(r"[a-z]{3}", text.replace("…", ""))}


def _trees() -> Iterator[ast.Module]:
    for file in _PACKAGE.rglob("*.py"):
        if not _OTHERS & set(file.relative_to(_PACKAGE).parts):
            yield ast.parse(file.read_text())


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _VALUE.sub("…", node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return "".join(map(str, parts))
    return ""
