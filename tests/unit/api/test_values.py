"""What is not given in a user's values: None, NaN of any kind, blank texts, and no text that only reads like it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_kling.api import values


class NAType:
    """As pandas' NA: neither equal to itself nor not."""

    def __ne__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class NaT:
    """As pandas' NaT."""

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Number:
    """As numpy's numbers."""

    dtype = "int64"

    def tolist(self) -> int:
        return 3


MISSING = [None, float("nan"), Decimal("NaN"), Decimal("sNaN"), complex("nan"), NAType(), NaT()]
GIVEN = [0, 0.0, False, "nan", "None", b"", [], [float("nan")], {}, float("inf"), Decimal(0), object()]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: type(value).__name__)
def test_missing(value: Any) -> None:
    assert values.is_missing(value)
    assert values.is_blank(value)


@pytest.mark.parametrize("value", GIVEN, ids=repr)
def test_given(value: Any) -> None:
    assert not values.is_missing(value)
    assert not values.is_blank(value)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0"])
def test_blank(text: str) -> None:
    assert values.is_blank(text)
    assert not values.is_missing(text)


def test_plain() -> None:
    assert values.plain(Number()) == 3
    assert values.plain(memoryview(b"a")) == memoryview(b"a")


def test_shortened() -> None:
    assert values.shortened("a") == "'a'"
    assert len(values.shortened("x" * 100)) == 60


def test_of_pandas_and_numpy() -> None:
    pandas, numpy = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    missing = [pandas.NA, pandas.NaT, numpy.nan, numpy.float32("nan"), numpy.datetime64("NaT")]
    assert [values.is_missing(value) for value in missing] == [True] * 5
    assert not any(map(values.is_missing, [numpy.array([numpy.nan]), pandas.Series([numpy.nan]), numpy.int64(3)]))
    assert values.plain(pandas.Series(["a", "b"])) == ["a", "b"]
