"""What the archive tells of its inputs and outputs to those who trace data."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias, HookLineageCollector

from airflow_kling import lineage

SUMMARY = {
    "manifest": "s3://bucket/images/8334/manifest.json",
    "kling_task_id": "8334",
    "images": [
        {"index": 0, "uri": "s3://bucket/images/8334/0.png"},
        {"index": 1, "uri": "s3://bucket/images/8334/1.png"},
    ],
}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Airflow's own collector, which is at work only where somebody reads it."""
    collector = HookLineageCollector()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_hook_lineage_collector", lambda: collector)

    def uris() -> tuple[set[str], set[str]]:
        found = collector.collected_assets
        return {item.asset.uri for item in found.inputs}, {item.asset.uri for item in found.outputs}

    return uris


def test_references_are_inputs_and_images_and_manifest_are_outputs(collected: Any) -> None:
    references = [
        {"name": "subject_images[0]", "source": "url", "uri": "https://example.com/a.png"},
        {"name": "subject_images[1]", "source": "file", "uri": "file:///data/b.png"},
        {"name": "scene_image", "source": "bytes", "sha256": "0" * 64},
        {"name": "style_image", "source": "file", "uri": "/data/c.png"},
    ]
    lineage.report_hook_lineage(object(), SUMMARY, references)
    inputs, outputs = collected()
    assert {uri.rstrip("/") for uri in inputs} == {
        "https://example.com/a.png",
        "file:///data/b.png",
        "file:///data/c.png",
    }
    assert outputs == {SUMMARY["manifest"], *(image["uri"] for image in SUMMARY["images"])}


def test_without_a_reader_nothing_is_collected_and_nothing_fails() -> None:
    lineage.report_hook_lineage(object(), SUMMARY, [{"uri": "https://example.com/a.png"}])


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
    lineage.emit_asset_events(context, [asset, alias, other], SUMMARY, destination="s3://bucket/images/")
    assert events[asset].extra == {"of": "somebody else", **SUMMARY}
    [(made, extra)] = events[alias].added
    assert made.uri == "s3://bucket/images"
    assert extra == SUMMARY
    assert frozenset(extra.items()), "Airflow 2.11 makes a set of it, after the task has succeeded"
    assert events[other].extra == {"of": "somebody else"}
    assert events[other].added == []


def test_outside_of_a_run_there_are_no_events() -> None:
    lineage.emit_asset_events({}, [Asset("kling_images")], SUMMARY, destination="s3://bucket/images")
