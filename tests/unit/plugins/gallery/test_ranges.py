"""Ranges as RFC 9110 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.gallery.ranges import NotSatisfiable, Span, read_range

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 999)),
        ("bytes=0-0", Span(0, 0)),
        ("bytes=10-19", Span(10, 19)),
        ("bytes=999-", Span(999, 999)),
        ("bytes=500-5000", Span(500, 999)),
        ("bytes=-1", Span(999, 999)),
        ("bytes=-1000", Span(0, 999)),
        ("bytes=-5000", Span(0, 999)),
        (" bytes=1-2 ", Span(1, 2)),
    ],
)
def test_one_range(header: str, span: Span) -> None:
    assert read_range(header, SIZE) == span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=5000-4000",
        "bytes=0-1,5-6",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=\u0661-\u0662",
        "items=0-1",
        "bytes=" + "9" * 5000 + "-",
    ],
    ids=lambda header: str(header)[:20],
)
def test_what_is_no_single_range_is_the_whole_file(header: str | None) -> None:
    assert read_range(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=" + "9" * 30 + "-"])
def test_range_behind_the_end(header: str) -> None:
    with pytest.raises(NotSatisfiable):
        read_range(header, SIZE)


@given(st.text(max_size=12).map("bytes={}".format) | st.text(max_size=20), st.integers(1, 2000))
def test_no_header_reaches_out_of_the_file(header: str, size: int) -> None:
    try:
        span = read_range(header, size)
    except NotSatisfiable:
        return
    if span is not None:
        assert 0 <= span.first <= span.last < size
        assert span.length == span.last - span.first + 1
