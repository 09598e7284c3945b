"""Reads the filters of the page from a query string, and writes the query string of changed filters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from airflow_kling.reporting import gallery_urls

PAGE_SIZE = 50
#: Characters; longer than any id of Airflow's, and than the words that somebody searches for.
MAX_TEXT = 500
MAX_PAGE = 100_000
#: Kinds of results that the gallery shows.
KINDS = ("image", "video")


@dataclass(frozen=True)
class Filters:
    """Which generations the page shows; empty text and None filter nothing.

    :param task_id: of a task that submitted, waited for or archived the generation.
    :param since: a date or time as it was typed, in UTC where it names no zone.
    :param until: likewise; a date includes the whole day.
    :param route: name of a route.
    :param kind: of the results, one of :data:`KINDS`.
    :param text: part of the prompt.
    :param page: its number, from 1.
    """

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int | None = None
    kling_task_id: str = ""
    since: str = ""
    until: str = ""
    route: str = ""
    kind: str = ""
    text: str = ""
    page: int = 1

    @property
    def run_ids(self) -> set[str]:
        """The run ids that match; Airflow 3.1's UI does not encode the ``+`` of a run id, so it arrives as a space."""
        return {self.run_id, self.run_id.replace(" ", "+")}

    @property
    def begin(self) -> datetime | None:
        """The first moment that is shown."""
        return _moment(self.since)

    @property
    def end(self) -> datetime | None:
        """The first moment that is no longer shown."""
        moment = _moment(self.until)
        try:
            return moment + timedelta(days=1) if moment and len(self.until) <= len("2026-01-31") else moment
        except OverflowError:  # the last day of the calendar
            return None

    @property
    def problems(self) -> list[str]:
        """Messages about dates that cannot be read; they filter nothing."""
        dates = (("From", self.since), ("To", self.until))
        return [
            f"{name}: “{typed}” is not a date. Write it as 2026-01-31."
            for name, typed in dates
            if typed and not _moment(typed)
        ]

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered."""
        return replace(self, page=1) != Filters()

    def url(self, **changes: str | int | None) -> str:
        """Return the address of the page with some filters changed; of its first page where no ``page`` is given."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        names = {"text": "q"}
        values = {names.get(name, name): value for name, value in vars(changed).items()}
        if changed.page == 1:
            del values["page"]
        return gallery_urls.page_url(**values)


def read_filters(query: Mapping[str, str]) -> Filters:
    """Return the filters that a request names; a value that cannot be read counts as missing."""

    def text(name: str) -> str:
        # PostgreSQL's driver fails on a NUL.
        return query.get(name, "").replace("\0", "").strip()[:MAX_TEXT]

    return Filters(
        dag_id=text("dag_id"),
        run_id=text("run_id"),
        task_id=text("task_id"),
        map_index=_number(text("map_index"), -1, 2**31 - 1),
        kling_task_id=text("kling_task_id"),
        since=text("since"),
        until=text("until"),
        route=text("route"),
        kind=kind if (kind := text("kind")) in KINDS else "",
        text=text("q"),
        page=_number(text("page"), 1, MAX_PAGE) or 1,
    )


def _number(text: str, least: int, most: int) -> int | None:
    # Airflow's UI sends "{MAP_INDEX}" itself for a task instance that is not mapped.
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        return None
    number = int(text)
    return number if least <= number <= most else None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
