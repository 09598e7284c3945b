"""Tells Airflow's hook lineage what was made of what, by address; :mod:`.openlineage` tells OpenLineage.

A reference image that was given as bytes or base64 has no address, so lineage does not know it; the manifest has its
hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_kling.reporting.assets import asset_uri


def addresses(references: Iterable[Mapping[str, Any]]) -> list[str]:
    """URIs of reference images, from their descriptions; each once."""
    return list(dict.fromkeys(_absolute(uri) for reference in references if (uri := reference.get("uri"))))


def addresses_as_given(references: Iterable[Any]) -> list[str]:
    """URIs of reference images as a DAG author gives them, before anything is read; none of a payload."""
    return list(dict.fromkeys(uri for reference in references if (uri := _address(reference))))


def archived(summary: Mapping[str, Any]) -> list[str]:
    """URIs of the images and, last, of their manifest.

    :param summary: what the archive task returns.
    """
    return [*(image["uri"] for image in summary["images"]), summary["manifest"]]


def report_hook_lineage(hook: Any, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """Tell Airflow's collector, which is at work only where somebody reads it."""
    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
    for uri in inputs:
        collector.add_input_asset(context=hook, uri=asset_uri(uri))
    for uri in outputs:
        collector.add_output_asset(context=hook, uri=asset_uri(uri))


def _absolute(uri: str) -> str:
    return uri if "://" in uri else f"file://{uri}"


def _address(reference: Any) -> str | None:
    if not isinstance(reference, str | os.PathLike):
        return None
    text = str(reference)
    if "://" in text[:32]:
        from airflow_kling.api.redact import redact_url

        return redact_url(text)
    return Path(text).absolute().as_uri() if os.path.exists(text) else None
