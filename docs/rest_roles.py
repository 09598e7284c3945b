"""For the docs site: reST roles and literal blocks of our docstrings, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`(~?)([^`]+)`")
_BLOCK = re.compile(r"::\n(?=\n +\S)")


def to_markdown(text: str) -> str:
    """``:class:`~a.b.C``` becomes `C`, and the colons before an indented block become one."""
    named = _ROLE.sub(lambda role: f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`", text)
    return _BLOCK.sub(":\n", named)


class RestRoles(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """See the docstring of the class."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
