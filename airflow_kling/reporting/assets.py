"""Asset events for those who schedule on what was archived."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


_KEPT = " " + string.punctuation.translate(str.maketrans("", "", "?#"))


def emit_asset_events(context: Context, outlets: Iterable[Any], extra: Mapping[str, Any], *, destination: str) -> None:
    """Give the event of each outlet this extra; an alias gets an asset for the destination.

    :param extra: JSON: of an archive the whole manifest, so that who is triggered by the event need not read it.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(asset_uri(destination.rstrip("/"))), extra=_hashable(extra))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(extra)


def asset_uri(address: str) -> str:
    """The address as every Airflow takes it: Airflow 2 refuses all but ASCII, both cut it at a ``#``."""
    return quote(address, safe=_KEPT)


class _HashableList(list[Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


class _HashableDict(dict[str, Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


def _hashable(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The same, as Airflow 2.11 needs it: it puts the extra of an alias' event into a set, after the task's success."""
    return {name: _hashable_value(value) for name, value in extra.items()}


def _hashable_value(value: Any) -> Any:
    if isinstance(value, list):
        return _HashableList(value)
    return _HashableDict(value) if isinstance(value, dict) else value
