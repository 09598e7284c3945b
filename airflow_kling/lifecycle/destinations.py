"""Where images go, as far as it is known while a DAG file is parsed: before anything is paid for."""

from __future__ import annotations

from typing import Any

from airflow_kling.lifecycle import templates


def check_literal(destination: Any, extra_args: Any = None) -> None:
    """Check a destination that is known by now; a template, an XCom or a parameter waits for the run.

    :param extra_args: upload arguments, which only some destinations take.
    :raises KlingInputError: the destination cannot be one.
    """
    if templates.is_literal(destination):
        from airflow_kling.storage.open import check_destination

        check_destination(destination, extra_args if templates.is_literal(extra_args) else None)
