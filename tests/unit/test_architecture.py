"""The floors of docs/architecture.md: imports go downwards and in no circle, modules and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "airflow_kling"

#: Rooms from the top to the bottom, and which of the rooms below each may import; None for all of them.
FLOORS: list[tuple[set[str], set[str] | None]] = [
    ({"task_group", "preload"}, None),
    ({"forms", "grouping", "retry_policy", "catalog", "doctor", "callbacks"}, None),
    ({"operators", "sensors"}, None),
    ({"lifecycle"}, None),
    ({"plugins"}, None),
    ({"triggers"}, {"hooks", "polling", "reporting", "api", "exceptions"}),
    ({"archive"}, {"storage", "media", "api", "exceptions"}),
    ({"polling"}, {"api", "reporting", "exceptions"}),
    ({"submission"}, {"api", "storage", "reporting", "exceptions"}),
    ({"storage"}, None),
    ({"reporting"}, None),
    ({"hooks"}, None),
    ({"api"}, {"media", "exceptions"}),
    ({"media"}, {"exceptions"}),
    ({"emulator"}, {"exceptions"}),
    ({"exceptions", "get_provider_info"}, set()),
]
FLOOR_OF = {room: floor for floor, (rooms, _) in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports_of(path: Path) -> set[str]:
    """Every module of the package that a module imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in NAMES else node.module)
    return {name for name in found if name.partition(".")[0] == "airflow_kling"}


GRAPH = {name: imports_of(path) - {name} for name, path in NAMES.items()}


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def climbing() -> Iterator[str]:
    for name, imported in GRAPH.items():
        room = room_of(name)
        if not room:
            continue
        allowed = FLOORS[FLOOR_OF[room]][1]
        for other in map(room_of, imported):
            if other in ("", room):
                continue
            if FLOOR_OF[other] <= FLOOR_OF[room] or (allowed is not None and other not in allowed):
                yield f"{name} imports {other}"


def test_every_room_has_a_floor() -> None:
    assert {room_of(name) for name in NAMES} - {""} == set(FLOOR_OF)


def test_imports_go_downwards() -> None:
    assert not sorted(climbing())


def test_no_circle_of_imports() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_top_has_few_modules() -> None:
    assert len([path for path in MODULES if path.parent == PACKAGE]) <= 10


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ":param" in (ast.get_docstring(node) or "") and len(node.args.kwonlyargs) > 10
            assert documented or (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_does(path: Path) -> None:
    """With a verb in the third person: "Decides whether to submit, adopt or stop."."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = docstring.split(" ", 1)[0].strip(",:")
    assert first.endswith("s"), docstring.splitlines()[0]
