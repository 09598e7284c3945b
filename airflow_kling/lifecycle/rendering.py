"""Renders template fields so that a text stays a text, and what is not given does not become one.

Airflow turns every text of a DAG with ``render_template_as_native_obj`` into what it reads like (``1e3`` into 1000.0),
and of a DAG without it every value into a text (NaN into ``nan``). Both were paid for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import literal
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

from airflow_kling.api.values import is_blank, is_missing, shortened
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle.fail_fast import failing_fast

# What Airflow resolves when a task runs has to be a ResolveMixin, for which there is no public name: XComArg and
# DagParam, its public subclasses, are serialized in ways of their own.
if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.definitions._internal import mixins
else:
    from airflow.utils import mixins  # type: ignore[attr-defined, no-redef]
if AIRFLOW_V_3_1_PLUS:
    from airflow.sdk.definitions.context import render_template_to_string
else:
    from airflow.utils.helpers import render_template_to_string  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from jinja2 import Environment

_RAW = re.compile(r"\{%[-+]?\s*raw\b")
_Literal = type(literal(""))
ResolveMixin: Any = mixins.ResolveMixin


class MappedCell(ResolveMixin):  # type: ignore[misc]
    """One field of a row that a task group is mapped over, which Airflow resolves and does not render.

    :param argument: Airflow's stand-in for the field.
    :param default: the value where the row does not give one.
    :param literal: the row is written in the DAG file, so its templates are the author's. What comes from another
        task is data: to render it would let whoever wrote the data read connections.
    """

    def __init__(self, argument: Any, *, default: Any, literal: bool) -> None:
        self._argument = argument
        self._default = default
        self.literal = literal

    def __repr__(self) -> str:
        return f"MappedCell({self._argument._key!r})"  # goes into the serialized DAG, so the same in every process

    def iter_references(self) -> Iterator[Any]:
        """Return the tasks whose output the rows are."""
        yield from self._argument.iter_references()

    def value(self, context: Context, **options: Any) -> Any:
        """Return the field of this row, not rendered."""
        found = self._argument.resolve(context, **options)
        return self._default if is_blank(found) else found

    def resolve(self, context: Context, **options: Any) -> Any:
        """Return the field of this row, for tasks that render as Airflow does."""
        found = self.value(context, **options)
        return context["task"].render_template(found, context) if self.literal else found


class TextFieldsMixin:
    """An operator that renders texts as texts: to be named before ``BaseOperator``."""

    #: The template fields that hold a text, whatever it reads like.
    text_fields: ClassVar[Collection[str]] = ()
    #: Fields whose author said that braces in them are no template.
    _verbatim: frozenset[str] = frozenset()
    #: The field that is rendered now.
    _field: str | None = None

    if TYPE_CHECKING:
        get_template_env: Any

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Environment,
        seen_oids: set[int],
    ) -> None:
        for name in template_fields:
            if parent is self:
                self._field = name
                self._resolve_cell(name, context, seen_oids)
                self._note_verbatim(name)
            super()._do_render_template_fields(parent, [name], context, jinja_env, seen_oids)  # type: ignore[misc]
        self._field = None

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """As Airflow's, but a text without a template stays what its author wrote, line breaks and all."""
        if isinstance(content, str) and id(content) not in (seen_oids or ()):
            env = jinja_env or self.get_template_env()
            if not _has_template(content, env):
                return content
            if self._field and env.finalize is None:  # else the author has said how values become text
                with failing_fast():
                    return _rendered(self._field, content, context, env, as_text=self._field in self.text_fields)
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _resolve_cell(self, name: str, context: Context, seen_oids: set[int]) -> None:
        cell = getattr(self, name)
        if isinstance(cell, MappedCell):
            value = cell.value(context)
            setattr(self, name, value)
            if not cell.literal:
                seen_oids.add(id(value))  # what Airflow does with the outputs that a task is mapped over

    def _note_verbatim(self, name: str) -> None:
        written = getattr(self, name)
        if isinstance(written, _Literal) or (isinstance(written, str) and _RAW.search(written)):
            self._verbatim |= {name}


def _has_template(text: str, env: Environment) -> bool:
    marks = (env.variable_start_string, env.block_start_string, env.comment_start_string)
    lines = (env.line_statement_prefix, env.line_comment_prefix)
    return any(mark in text for mark in (*marks, *lines) if mark)


def _rendered(name: str, text: str, context: Context, env: Environment, *, as_text: bool) -> Any:
    """Render a text to a text; to None where all of it is a value that is missing.

    :param as_text: a single value becomes its text in a native environment as well, where it else stays what it is.
    :raises KlingInputError: a missing value, or bytes, would stand in the midst of a text.
    """
    from jinja2.nativetypes import NativeEnvironment

    values: list[Any] = []

    def shown(value: Any) -> str:
        values.append(value)
        return _text_of(value)

    template = env.overlay(finalize=shown).from_string(text)
    rendered: str = render_template_to_string(template, context)
    if len(values) == 1 and rendered.strip() == _text_of(values[0]).strip():
        if is_missing(values[0]):
            return None
        if isinstance(env, NativeEnvironment) and not as_text:
            return values[0]
    if odd := [value for value in values if _is_odd(value)]:
        raise KlingInputError(
            f"{name} has the value {shortened(odd[0])} in its template {shortened(text)}; give it a text, such as "
            "{{ ... or 'a default' }}; nothing was submitted."
        )
    return rendered


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else "" if _is_odd(value) else str(value)


def _is_odd(value: Any) -> bool:
    """Tell whether a value has no text that anybody means."""
    return is_missing(value) or isinstance(value, bytes | bytearray)
