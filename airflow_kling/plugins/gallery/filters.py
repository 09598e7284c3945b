"""What of the gallery is asked for: from a query string and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

PAGE_SIZE = 50
#: Longer than any id of Airflow's, and than a prompt that somebody looks for.
MAX_TEXT = 500
MAX_PAGE = 100_000


@dataclass(frozen=True)
class Filters:
    """What is shown; empty text and None stand for everything.

    :param task_id: of any task that had to do with the generation: submitted it, waited for it, archived it.
    :param since: a date or time as it was typed, in UTC unless it says otherwise.
    :param until: likewise; a date includes its whole day.
    :param text: somewhere in the prompt.
    :param page: from 1.
    """

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int | None = None
    kling_task_id: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    page: int = 1

    @property
    def run_ids(self) -> set[str]:
        """What may be meant: Airflow 3.1's UI does not encode the ``+`` of a run id, which arrives as a space."""
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
        """What was typed and cannot be understood; it filters nothing."""
        dates = (("From", self.since), ("To", self.until))
        return [
            f"{name}: “{typed}” is no date; write 2026-01-31." for name, typed in dates if typed and not _moment(typed)
        ]

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered at all."""
        return replace(self, page=1) != Filters()

    def query(self, **changes: str | int | None) -> str:
        """The query string of these filters with some of them changed, the first page unless told."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        names = {"text": "q"}
        values = {names.get(name, name): value for name, value in vars(changed).items()}
        if changed.page == 1:
            del values["page"]
        return urlencode({name: value for name, value in values.items() if value not in ("", None)})


def read_filters(query: Mapping[str, str]) -> Filters:
    """Filters from a request; whatever makes no sense is as if it were not there.

    Airflow's UI leaves ``{MAP_INDEX}`` as it is for a task instance that is not mapped. PostgreSQL takes no NUL.
    """

    def text(name: str) -> str:
        return query.get(name, "").replace("\0", "").strip()[:MAX_TEXT]

    return Filters(
        dag_id=text("dag_id"),
        run_id=text("run_id"),
        task_id=text("task_id"),
        map_index=_number(text("map_index"), -1, 2**31 - 1),
        kling_task_id=text("kling_task_id"),
        since=text("since"),
        until=text("until"),
        text=text("q"),
        page=_number(text("page"), 1, MAX_PAGE) or 1,
    )


def _number(text: str, least: int, most: int) -> int | None:
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
