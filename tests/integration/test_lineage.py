"""What the archive tells of its inputs and outputs to those who trace data."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import HookLineageCollector

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
