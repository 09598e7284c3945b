"""Builds SQL expressions that read values out of JSON columns.

The author of a DAG can write any JSON. One odd value must not fail the query for the whole page.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Float, Numeric, Text, case, cast, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def text_at(column: Any, path: str | tuple[str, ...]) -> Any:
    """Return the expression for a text; null where there is none.

    :param path: a key, or a path of keys
    """
    return case((_readable(column), column[path].as_string()))


def number_at(column: Any, key: str, dialect: str) -> Any:
    """Return the expression for a number that can be added up; null, or 0, where there is none.

    :param dialect: the database's name
    """
    # PostgreSQL fails when it casts a text that is no number, and when a float overflows.
    if dialect == "postgresql":
        return case((func.jsonb_typeof(column[key]) == "number", cast(column[key], Numeric)))
    return case((_readable(column), cast(column[key].as_float(), Float)))


def text_length(column: Any) -> Any:
    """Return the expression for the number of characters of the JSON; of bytes on MySQL."""
    return func.length(cast(column, Text))


class _readable(FunctionElement):  # type: ignore[type-arg]  # SQLAlchemy 1.4 knows no such argument
    """Whether the database can read the JSON that it holds: SQLite stores a NaN, and fails when it reads one."""

    type = Boolean()
    inherit_cache = True


@compiles(_readable)
def _compile_readable(element: Any, compiler: Any, **_: Any) -> str:
    return "true"


@compiles(_readable, "sqlite")
def _compile_readable_for_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_valid({compiler.process(element.clauses, **options)})"
