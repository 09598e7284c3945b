"""Emits asset events, so that DAGs can be scheduled by what was archived or published."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


# Characters that an address keeps; the others are encoded.
_KEPT = " " + string.punctuation.translate(str.maketrans("", "", "?#"))


def emit_asset_events(context: Context, outlets: Iterable[Any], extra: Mapping[str, Any], *, destination: str) -> None:
    """Give the event of each outlet this extra; an alias gets an asset for the destination.

    :param outlets: of the task; Airflow emits their events once the task has succeeded.
    :param extra: JSON; for an archive its whole manifest, so that the triggered DAG need not read the storage.
    :param destination: address of the archive.
    """
    events = context.get("outlet_events")
    if events is None:  # a task that a unit test runs without Airflow
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(asset_uri(destination.rstrip("/"))), extra=_hashable(extra))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(extra)


def asset_uri(address: str) -> str:
    """Return an address as every Airflow accepts it."""
    # Airflow 2 refuses all but ASCII; both 2 and 3 cut an address at a "#".
    return quote(address, safe=_KEPT)


class _HashableList(list[Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


class _HashableDict(dict[str, Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


def _hashable(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra with lists and dicts that have a hash."""
    # Airflow 2.11 puts the extra of an alias' event into a set, and fails there after the task has succeeded.
    return {name: _hashable_value(value) for name, value in extra.items()}


def _hashable_value(value: Any) -> Any:
    if isinstance(value, list):
        return _HashableList(value)
    return _HashableDict(value) if isinstance(value, dict) else value
