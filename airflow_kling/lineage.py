"""Hook lineage for those who trace what was made of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector


def report_hook_lineage(hook: Any, summary: Mapping[str, Any], references: Iterable[Mapping[str, Any]]) -> None:
    """References with an address as inputs; the archived images and their manifest as outputs."""
    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
    for reference in references:
        if uri := reference.get("uri"):
            collector.add_input_asset(context=hook, uri=_absolute(uri))
    for uri in (summary["manifest"], *(image["uri"] for image in summary["images"])):
        collector.add_output_asset(context=hook, uri=uri)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else f"file://{uri}"
