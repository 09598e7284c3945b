"""Reads the rows that a task group is mapped over, as users have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_kling.api.values import plain, shortened
from airflow_kling.exceptions import KlingInputError


def fields_of(row: Any) -> Mapping[str, Any]:
    """Return the fields of a row, which may be a row of pandas as well.

    :raises KlingInputError: it is no row.
    """
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_asdict"):
        return row._asdict()  # type: ignore[no-any-return]
    if hasattr(row, "to_dict") and getattr(row, "ndim", 0) == 1:
        return row.to_dict()  # type: ignore[no-any-return]
    raise KlingInputError(
        f"A row is a {type(row).__name__} ({shortened(row)}), it must be a dict; nothing was submitted for it."
    )


def listed(values: Any, name: str = "expand_kwargs") -> list[Any]:
    """Return the elements of what is mapped over.

    :raises KlingInputError: it is a text, or a table, whose elements would be its column names.
    """
    if hasattr(values, "columns"):
        raise KlingInputError(
            f"{name} has a {type(values).__name__}: give its rows, as .to_dict('records') makes them."
        )
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise KlingInputError(f"{name} has {shortened(values)}, it must be a list or the output of a task.")
    return list(plain(values))


def check_known(given: Mapping[str, Any]) -> None:
    """Refuse the output of a task within a list: Airflow would not wait for that task.

    :raises KlingInputError: a field is one.
    """
    for name, value in given.items():
        if any(XComArg.iter_xcom_references(value)):
            raise KlingInputError(
                f"{name} of a row is the output of a task, which is not known yet: let a task make all of the rows; "
                "nothing was submitted."
            )
