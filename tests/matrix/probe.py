"""Tells what is wrong with the installed provider: how Airflow knows it, and how it reads the DAGs of a folder.

Runs in an environment that has Airflow and the wheel and nothing of the checkout: ``probe.py DAGS``.
"""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import airflow_kling

DISTRIBUTION = "airflow-provider-kling"
PLUGINS = {"kling_callbacks", "kling_gallery", "kling_preload"}
PACKAGE = Path(airflow_kling.__file__).parent


def main(dags: Path) -> int:
    """Print what is wrong; returns how many things are."""
    found = [*provider(), *plugins(), *dag_files(dags)]
    print(f"apache-airflow {importlib.metadata.version('apache-airflow')}, Python {sys.version.split()[0]}")
    print("\n".join(found) or "Provider, plugins and DAGs load, without a deprecation warning of ours.")
    return len(found)


def provider() -> Iterator[str]:
    """Ask Airflow for the provider and its connection type."""
    from airflow.providers_manager import ProvidersManager

    if "site-packages" not in PACKAGE.parts:
        yield f"airflow_kling is imported from {PACKAGE}, not from the wheel."
    manager = ProvidersManager()
    if DISTRIBUTION not in manager.providers:
        yield f"Airflow does not list the provider {DISTRIBUTION}."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow 3.4 moves ``hooks`` to the task SDK
        hook = manager.hooks.get("kling")
    if hook is None or hook.hook_name != "Kling":
        yield f"The connection type kling has the hook {hook}."


def plugins() -> Iterator[str]:
    """Ask Airflow for our plugins, and whether it could import them."""
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    errors = getattr(plugins_manager, "get_import_errors", lambda: plugins_manager.import_errors)()
    for source, error in errors.items():
        if "kling" in source:  # another provider's plugin is not ours to mend
            yield f"The plugin {source} cannot be imported: {error}"
    missing = PLUGINS - {plugin["name"] for plugin in plugins_manager.get_plugin_info()}
    if missing:
        yield f"Airflow does not list the plugins {sorted(missing)}."


def dag_files(folder: Path) -> Iterator[str]:
    """Let Airflow read the DAG files."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag

    warnings.simplefilter("always")
    bag = DagBag(dag_folder=str(folder))
    for file, error in bag.import_errors.items():
        yield f"{file} cannot be read: {error}"
    if "kling_multi_image_to_image" not in bag.dags:
        yield f"{folder} has the DAGs {sorted(bag.dags)}, and the main one is missing."
    for said in bag.captured_warnings.values():
        yield from (f"A warning of ours: {one}" for one in said if one.startswith((str(PACKAGE), str(folder))))


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1])), 1))
