"""What the archive tells those who schedule on it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_kling.reporting import assets

EXTRA = {
    "manifest": "s3://bucket/images/8334/manifest.json",
    "kling_task_id": "8334",
    "images": [
        {"index": 0, "uri": "s3://bucket/images/8334/0.png"},
        {"index": 1, "uri": "s3://bucket/images/8334/1.png"},
    ],
    "request": {"prompt": "a mug", "references": [{"name": "subject_images[0]"}]},
    "task": {"status": "succeed"},
    "run": {},
}


class Event:
    def __init__(self) -> None:
        self.extra: dict[str, Any] = {"of": "somebody else"}
        self.added: list[tuple[Any, dict[str, Any]]] = []

    def add(self, asset: Any, extra: dict[str, Any]) -> None:
        self.added.append((asset, extra))


def test_each_outlet_gets_the_manifest_in_its_own_way() -> None:
    asset, alias, other = Asset("kling_images"), AssetAlias("by_alias"), object()
    events = {asset: Event(), alias: Event(), other: Event()}
    context: Any = {"outlet_events": events}
    assets.emit_asset_events(context, [asset, alias, other], EXTRA, destination="s3://bucket/images/")
    assert events[asset].extra == {"of": "somebody else", **EXTRA}
    [(made, extra)] = events[alias].added
    assert made.uri == "s3://bucket/images"
    assert extra == EXTRA
    assert frozenset(extra.items()), "Airflow 2.11 makes a set of it, after the task has succeeded"
    assert events[other].extra == {"of": "somebody else"}
    assert events[other].added == []


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        ("s3://bucket/mug's (2), 50%/a+b", "s3://bucket/mug's (2), 50%/a+b"),
        ("s3://bucket/mug%2F01", "s3://bucket/mug%2F01"),
        ("file:///b\u00fccher/\u7167\u7247", "file:///b%C3%BCcher/%E7%85%A7%E7%89%87"),
        ("s3://bucket/a#1/k?2", "s3://bucket/a%231/k%3F2"),
    ],
)
def test_an_alias_gets_an_address_that_every_airflow_takes(destination: str, uri: str) -> None:
    """Airflow 2 refuses what is not ASCII, when all is archived; both cut it at a ``#``."""
    alias = AssetAlias("by_alias")
    events = {alias: Event()}
    context: Any = {"outlet_events": events}
    assets.emit_asset_events(context, [alias], EXTRA, destination=destination)
    [(made, _)] = events[alias].added
    assert made.uri == uri


def test_outside_of_a_run_there_are_no_events() -> None:
    assets.emit_asset_events({}, [Asset("kling_images")], EXTRA, destination="s3://bucket/images")
