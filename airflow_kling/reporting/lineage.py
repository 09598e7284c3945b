"""Reports to Airflow's hook lineage from which reference images a task made which files.

:mod:`.openlineage` reports the same to OpenLineage. A reference image that was given as bytes or base64 has no address,
so it is not reported; the manifest has its hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def addresses(references: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the URIs of reference images, each once.

    :param references: their descriptions in a request record.
    """
    return list(dict.fromkeys(_absolute(uri) for reference in references if (uri := reference.get("uri"))))


def addresses_as_given(references: Iterable[Any], *, video: bool = False) -> list[str]:
    """Return the URIs of references as a DAG author gives them, each once; nothing is read.

    Bytes and base64 have none.

    :param video: they are videos, and not images.
    """
    from airflow_kling.api.reference_checks import address_of

    return list(
        dict.fromkeys(_shown(address) for reference in references if (address := address_of(reference, video=video)))
    )


def archived(summary: Mapping[str, Any]) -> list[str]:
    """Return the URIs of the archived images and videos, each video with its poster, and, last, of their manifest.

    :param summary: what the archive task returns.
    """
    videos = summary.get("videos", ())
    entries = [*summary["images"], *(one for video in videos for one in (video, video.get("poster")) if one)]
    return [*(entry["uri"] for entry in entries), summary["manifest"]]


def report_hook_lineage(hook: Any, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """Report to Airflow's collector, where something reads it.

    :param hook: the hook that the task used.
    :param inputs: URIs.
    :param outputs: URIs.
    """
    # The collector of an Airflow without readers keeps nothing, and yet loads the asset handlers of every provider,
    # which is Amazon's S3Hook with boto3 among them: half a second of CPU in each task's process.
    if not _is_read():
        return
    # Not at the top: a DAG file that is parsed needs neither.
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    from airflow_kling.reporting.assets import asset_uri

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
    for uri in inputs:
        collector.add_input_asset(context=hook, uri=asset_uri(uri))
    for uri in outputs:
        collector.add_output_asset(context=hook, uri=asset_uri(uri))


def _is_read() -> bool:
    """Whether a plugin of this Airflow, such as OpenLineage's, reads what hooks report."""
    try:
        from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins
    except ImportError:  # Airflow up to 3.1
        from airflow import plugins_manager as found

        plugins_manager: Any = found  # of another Airflow than that of the type checker
        plugins_manager.initialize_hook_lineage_readers_plugins()
        return bool(plugins_manager.hook_lineage_reader_classes)
    return bool(get_hook_lineage_readers_plugins())


def _absolute(uri: str) -> str:
    # A file without a scheme is a path of the worker.
    return uri if "://" in uri else f"file://{uri}"


def _shown(address: str) -> str:
    """Return an address as a request record has it: of a URL without its query, of a file encoded."""
    from airflow_kling.api.redact import redact_url

    if address.startswith("file://"):
        return Path("/", address.removeprefix("file://")).as_uri()
    return redact_url(address)
