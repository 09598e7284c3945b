"""Asset events for those who schedule on what was archived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def emit_asset_events(
    context: Context, outlets: Iterable[Any], summary: Mapping[str, Any], *, destination: str
) -> None:
    """Give each outlet the manifest as its event's extra; an alias gets an asset for the destination."""
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(destination.rstrip("/")), extra=_hashable(summary))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(summary)


class _HashableList(list[Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


def _hashable(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The same, as Airflow 2.11 needs it: it puts the extra of an alias' event into a set, after the task's success."""
    return {name: _HashableList(value) if isinstance(value, list) else value for name, value in summary.items()}
