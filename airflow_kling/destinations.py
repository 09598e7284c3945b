"""Where images go, as far as it is known while a DAG file is parsed: before anything is paid for."""

from __future__ import annotations

from typing import Any

from airflow_kling import asking


def check_literal(destination: Any, extra_args: Any = None) -> None:
    """Check a destination that is known by now; a template, an XCom or a parameter waits for the run.

    :param extra_args: upload arguments, which only some destinations take.
    :raises KlingInputError: the destination cannot be one.
    """
    if asking.is_literal(destination):
        from airflow_kling.archive.store import check_destination

        check_destination(destination, extra_args if asking.is_literal(extra_args) else None)
