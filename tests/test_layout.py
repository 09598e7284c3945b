"""Tests where things are: who may import from which folder, and where test modules lie."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
#: A folder of the checkout -> the other folders that its modules may import from.
MAY_IMPORT = {
    "airflow_kling": set(),
    "dags": {"airflow_kling"},
    "deploy": {"airflow_kling"},
    "demo": {"airflow_kling", "deploy"},
    "tests": {"airflow_kling", "deploy"},
    "benchmarks": {"airflow_kling", "deploy", "tests"},
}


def modules(folder: str) -> list[Path]:
    return sorted((CHECKOUT / folder).rglob("*.py"))


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and name of each import of a module, also those inside of functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_from_those_below_it(folder: str) -> None:
    assert modules(folder)
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[folder] - {folder}
    found = [
        f"{file.relative_to(CHECKOUT)}:{line} imports {name}"
        for file in modules(folder)
        for line, name in imported(file)
        if name.partition(".")[0] in forbidden
    ]
    assert found == []


#: What starts a server of a real Airflow. The templates of ``deploy/celery`` start theirs in their own way.
STARTERS = {"server", "Components", "postgres", "redis_server"}


def test_one_room_starts_the_servers_of_the_tests() -> None:
    harness = CHECKOUT / "tests" / "airflow" / "harness"
    outside = [
        f"{file.relative_to(CHECKOUT)}:{node.lineno}"
        for file in modules("tests")
        if harness not in file.parents
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("deploy.")
        if STARTERS & {alias.name for alias in node.names}
    ]
    assert outside == []


def test_test_modules_lie_in_a_known_folder() -> None:
    folders = {path.name for path in (CHECKOUT / "tests").iterdir() if path.is_dir() and list(path.rglob("*.py"))}
    assert folders == {"unit", "integration", "airflow", "browser", "docs", "matrix"}
