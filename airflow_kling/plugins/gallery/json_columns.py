"""What SQL reads out of JSON that anybody may have written: one odd value must not fail the whole query."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Float, Numeric, case, cast, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def text_at(column: Any, place: str | tuple[str, ...]) -> Any:
    """A text; null where there is none.

    :param place: a key, or a path of keys
    """
    return case((_readable(column), column[place].as_string()))


def number_at(column: Any, key: str, dialect: str) -> Any:
    """A number of any size, which can be added up; null, or 0, where there is none.

    :param dialect: the database's name
    """
    if dialect == "postgresql":
        return case((func.jsonb_typeof(column[key]) == "number", cast(column[key], Numeric)))
    return case((_readable(column), cast(column[key].as_float(), Float)))


class _readable(FunctionElement):  # type: ignore[type-arg]  # SQLAlchemy 1.4 knows no such argument
    """Whether the database can read its own JSON: SQLite keeps a NaN, and fails when it reads one."""

    type = Boolean()
    inherit_cache = True


@compiles(_readable)
def _always(element: Any, compiler: Any, **_: Any) -> str:
    return "true"


@compiles(_readable, "sqlite")
def _in_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_valid({compiler.process(element.clauses, **options)})"
