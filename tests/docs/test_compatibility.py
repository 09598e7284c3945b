"""Tests that the table of versions says what ``make matrix`` runs, on the releases that ``constraints/`` pins."""

from __future__ import annotations

import re

import pytest

from deploy.local.paths import CHECKOUT
from tests.matrix.cells import LINES, Line, table

PAGE = (CHECKOUT / "docs" / "compatibility.md").read_text()


def test_the_page_has_the_table_of_the_matrix() -> None:
    assert table() in PAGE


@pytest.mark.parametrize("line", [line for line in LINES if not line.is_pre_release], ids=lambda line: line.name)
def test_the_matrix_and_the_constraints_mean_the_same_release(line: Line) -> None:
    pins = (CHECKOUT / "constraints" / f"airflow-{line.name}.txt").read_text()
    assert re.findall(r"^apache-airflow==(\S+)", pins, re.MULTILINE) == [line.newest]
