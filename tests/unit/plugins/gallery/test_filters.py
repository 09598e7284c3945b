"""Query strings of the gallery: read, and written again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.gallery.filters import MAX_TEXT, Filters, read_filters


def test_nothing_asked_is_everything() -> None:
    assert read_filters({}) == Filters()
    assert not Filters().is_narrow
    assert not Filters(page=3).is_narrow
    assert Filters(text="x").is_narrow


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("3", 3),
        ("-1", -1),
        ("{MAP_INDEX}", None),
        ("", None),
        ("-2", None),
        ("3.5", None),
        ("9" * 50, None),
        ("²", None),
    ],
)
def test_map_index(typed: str, read: int | None) -> None:
    assert read_filters({"map_index": typed}).map_index == read


@pytest.mark.parametrize(("typed", "read"), [("2", 2), ("0", 1), ("-5", 1), ("x", 1), ("1" * 30, 1)])
def test_page(typed: str, read: int) -> None:
    assert read_filters({"page": typed}).page == read


def test_day_is_included_to_its_end() -> None:
    filters = Filters(since="2026-01-31", until="2026-01-31")
    assert (filters.begin, filters.end) == (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def test_time_is_taken_as_it_is() -> None:
    assert Filters(until="2026-01-31T10:00+02:00").end == datetime(2026, 1, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize("typed", ["tomorrow", "2026-13-01", "0000-00-00", "9999-12-31T23:59:59-23:00"])
def test_what_is_no_date_filters_nothing_and_is_told(typed: str) -> None:
    filters = Filters(since=typed, until="2026-01-01")
    assert filters.begin is None
    assert [problem for problem in filters.problems if typed in problem]


def test_last_day_of_the_calendar_has_no_end() -> None:
    filters = Filters(until="9999-12-31")
    assert (filters.end, filters.problems) == (None, [])


def test_nul_is_left_out() -> None:
    assert read_filters({"q": "a\0b", "run_id": "\0", "map_index": "1\0"}) == Filters(text="ab", map_index=1)


def test_long_text_is_cut() -> None:
    assert len(read_filters({"q": "x" * 10_000}).text) == MAX_TEXT


def test_another_filter_starts_at_the_first_page() -> None:
    filters = Filters(dag_id="a b", text="ä&=", page=7)
    assert filters.url(dag_id="c") == "gallery?dag_id=c&q=%C3%A4%26%3D"
    assert filters.url(page=8).endswith("&page=8")


def test_no_filter_is_the_plain_page() -> None:
    assert Filters().url() == Filters(dag_id="a").url(dag_id="") == "gallery"


def test_a_space_of_a_run_id_may_have_been_a_plus() -> None:
    assert Filters(run_id="manual__a 00").run_ids == {"manual__a 00", "manual__a+00"}


texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=20)


@given(
    st.builds(
        Filters,
        dag_id=texts,
        run_id=texts,
        task_id=texts,
        map_index=st.none() | st.integers(-1, 10**6),
        kling_task_id=texts,
        since=texts,
        until=texts,
        text=texts,
        page=st.integers(1, 1000),
    )
)
def test_address_says_the_same_again(filters: Filters) -> None:
    query: dict[str, Any] = dict(parse_qsl(urlsplit(filters.url(page=filters.page)).query))
    assert read_filters(query) == filters
    assert isinstance(filters.problems, list)
