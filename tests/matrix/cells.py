"""Lists the Airflow releases and Pythons that ``make matrix`` runs on, and draws the table of docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Line:
    """A release line of Airflow.

    :param newest: its newest release, which runs on the newest dependencies.
    :param first: its first release, which runs on our lower bounds; None for a pre-release.
    :param first_until: the day up to which that release's other dependencies are taken. Newer ones break it: Airflow
        3.1.0 does not import with structlog 26.
    :param pythons: that its releases run on.
    :param newest_until: the same for its newest release, where newer ones break that too: Airflow 3.0.6 signs no token
        with PyJWT 2.11, and FastAPI 0.132 reads nothing that its tasks report; the DAG processor of Airflow 3.2.2 ends
        with pydantic 2.14.
    :param first_needs: what its first release needs beyond its own lower bounds: the API server of Airflow 3.2.0 and
        3.3.0 does not import with pydantic 2.11.1.
    """

    name: str
    newest: str
    first: str | None
    first_until: str
    pythons: tuple[str, ...] = PYTHONS
    newest_until: str = ""
    first_needs: tuple[str, ...] = ()

    @property
    def is_pre_release(self) -> bool:
        """Tell whether only a pre-release of the line is out."""
        return self.first is None


PYDANTIC = ("pydantic>=2.11.10",)
LINES = (
    Line("2.11", "2.11.2", "2.11.0", "2025-06-15", PYTHONS[:2]),
    Line("3.0", "3.0.6", "3.0.0", "2025-05-20", PYTHONS[:2], newest_until="2025-09-15"),
    Line("3.1", "3.1.8", "3.1.0", "2025-10-10"),
    Line("3.2", "3.2.2", "3.2.0", "2026-05-01", newest_until="2026-06-15", first_needs=PYDANTIC),
    Line("3.3", "3.3.2", "3.3.0", "2026-08-01", first_needs=PYDANTIC),
    Line("3.4", "3.4.0b2", None, ""),
)


@dataclass(frozen=True)
class Cell:
    """One environment of the matrix.

    :param is_lowest: of all that pyproject.toml asks for, it has the lowest version that is allowed.
    :param runs_airflow: a real scheduler, triggerer and workers run the main DAG in it.
    """

    line: Line
    python: str
    is_lowest: bool = False
    runs_airflow: bool = False

    @property
    def release(self) -> str:
        """The Airflow that it runs."""
        return self.line.first if self.is_lowest and self.line.first else self.line.newest

    @property
    def until(self) -> str:
        """The day up to which its dependencies are taken; empty where the newest run."""
        return self.line.first_until if self.is_lowest else self.line.newest_until

    @property
    def name(self) -> str:
        """What its folder and its line of progress are called."""
        return f"airflow-{self.release}-python-{self.python}{'-lowest' if self.is_lowest else ''}"


def cells(line: Line) -> Iterator[Cell]:
    """Yield the environments of a line: each Python with the newest dependencies, and the oldest with the lowest."""
    for python in line.pythons:
        yield Cell(line, python, runs_airflow=python == line.pythons[0])
    if not line.is_pre_release:
        yield Cell(line, line.pythons[0], is_lowest=True)


def table() -> str:
    """Return the table of docs/compatibility.md."""
    rows = ["| Airflow | Python | dependencies | real Airflow runs the main DAG |", "|---|---|---|---|"]
    for line in reversed(LINES):
        release = f"{line.newest} (pre-release)" if line.is_pre_release else line.newest
        newest = f"the newest of {line.newest_until}" if line.newest_until else "the newest"
        rows.append(f"| {release} | {', '.join(line.pythons)} | {newest} | on {line.pythons[0]} |")
        if line.first:
            rows.append(f"| {line.first} | {line.pythons[0]} | the lowest that `pyproject.toml` allows | |")
    return "\n".join(rows)
