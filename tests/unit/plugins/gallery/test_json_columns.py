"""Values out of JSON columns, on SQLite itself and as SQL for PostgreSQL."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table, create_engine, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from airflow_kling.plugins.gallery.json_columns import number_at, text_at

TABLE = Table("values", MetaData(), Column("id", Integer, primary_key=True), Column("value", JSON))


def selected(expression: Any, *values: Any) -> list[Any]:
    """The expression for each of these values, from a real SQLite."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        TABLE.create(connection)
        for value in values:
            connection.execute(TABLE.insert().values(value=value))
        return [one for (one,) in connection.execute(select(expression).select_from(TABLE).order_by(TABLE.c.id))]


def test_a_text_is_found_by_its_key_or_path() -> None:
    value = {"prompt": "a mug", "asked": {"prompt": "a jug"}}
    assert selected(text_at(TABLE.c.value, "prompt"), value, {}, [], 5, "prompt") == ["a mug", *[None] * 4]
    assert selected(text_at(TABLE.c.value, ("asked", "prompt")), value, {"asked": 5}) == ["a jug", None]


def test_json_that_sqlite_cannot_read_fails_no_query() -> None:
    odd = {"prompt": "a", "units": math.nan}
    assert selected(text_at(TABLE.c.value, "prompt"), odd, {"prompt": "b"}, math.inf) == [None, "b", None]
    assert selected(func.sum(number_at(TABLE.c.value, "units", "sqlite")), odd, {"units": 3}) == [3]


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([{"units": 3}, {"units": 2.5}], 5.5),
        ([{"units": 2**63 - 1}, {"units": 2**63 - 1}], 2.0**64),
        ([{"units": None}, {}, {"units": 1}], 1),
        ([{"units": "many"}, {"units": [8]}, {"units": 1}], 1),
    ],
)
def test_numbers_can_be_added_up_on_sqlite(values: list[Any], total: float) -> None:
    assert selected(func.sum(number_at(TABLE.c.value, "units", "sqlite")), *values) == [pytest.approx(total)]


def test_postgresql_casts_numbers_alone() -> None:
    column = Column("value", JSONB)
    sql = str(select(number_at(column, "units", "postgresql")).compile(dialect=postgresql.dialect()))
    assert "CASE WHEN (jsonb_typeof(" in sql
    assert "AS NUMERIC" in sql
    text = str(select(text_at(column, "prompt")).compile(dialect=postgresql.dialect()))
    assert "json_valid" not in text  # which PostgreSQL does not have
    assert json.dumps(True) in text
