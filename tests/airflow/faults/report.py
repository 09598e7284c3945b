"""Prints the table, in the form in which docs/reliability.md has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.airflow.faults.downloads import DownloadOutcome
from tests.airflow.faults.model import Outcome

HEAD = ("where it breaks", "gateway", "billed", "images", "final state", "as documented")
STATES = {"upstream_failed": "not run"}


def line_of(outcome: Outcome) -> str:
    """One outcome, as it is told while others still run."""
    verdict, row = "as documented", outcome.row
    if outcome.deviations:
        verdict = f"NOT as documented: {'; '.join(outcome.deviations)}; logs: {', '.join(map(str, outcome.logs))}"
    return (
        f"{row.line:4} {row.gateway:8} {row.route} {row.name}: {outcome.billed} billed, {outcome.images} images, "
        f"{state_of(outcome.states)}, {outcome.kills} kills, {outcome.seconds:.0f} s: {verdict}"
    )


def state_of(states: Mapping[str, str]) -> str:
    """``success`` when everything is, else task by task."""
    if set(states.values()) == {"success"}:
        return "success"
    return ", ".join(f"{task} {STATES.get(state, state)}" for task, state in sorted(states.items(), key=_failed_first))


def _failed_first(item: tuple[str, str]) -> tuple[bool, str]:
    return item[1] != "failed", item[0]


def table(outcomes: Iterable[Outcome]) -> str:
    """A Markdown table of one route on one line of Airflow."""
    cells = [
        (
            outcome.row.name,
            outcome.row.gateway + (" *" if outcome.row.account == "lenient" else ""),
            str(outcome.billed),
            str(outcome.images),
            state_of(outcome.states),
            "no: " + "; ".join(outcome.deviations) if outcome.deviations else "yes",
        )
        for outcome in outcomes
    ]
    return markdown(HEAD, cells)


def downloads_table(outcomes: Iterable[DownloadOutcome]) -> str:
    """A Markdown table of the rows below Airflow."""
    head = ("where it breaks", "end", "as documented")
    cells = [(one.name, one.end, "no: " + "; ".join(one.deviations) if one.deviations else "yes") for one in outcomes]
    return markdown(head, cells)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as Markdown, in columns that are readable as text too."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])
