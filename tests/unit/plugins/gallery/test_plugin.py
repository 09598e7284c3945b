"""The plugin as every process of Airflow loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parents[4]
HAS_VIEWS = Version(airflow.__version__).release >= (3, 1)
HEAVY = ("fastapi", "starlette", "jinja2", "PIL", "sqlalchemy.orm", "httpx", "pydantic", "airflow.api_fastapi")

LOAD = """
import json, sys
from airflow import plugins_manager
try:
    from airflow.providers.common.compat.sdk import AirflowPlugin
except ImportError:
    pass
before = set(sys.modules)
from airflow_kling.plugins.gallery.plugin import KlingGalleryPlugin
plugin = KlingGalleryPlugin()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(code: str, tmp_path: Path) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "AIRFLOW_HOME": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(printed.stdout.splitlines()[-1])


def test_loading_imports_one_small_module(tmp_path: Path) -> None:
    added = run(LOAD, tmp_path)
    assert [name for name in added if name.startswith("airflow_kling.")] == [
        "airflow_kling.plugins",
        "airflow_kling.plugins.gallery",
        "airflow_kling.plugins.gallery.plugin",
    ]
    assert [name for name in added if name.startswith(HEAVY)] == []


def test_airflow_finds_it_by_its_entry_point() -> None:
    from importlib.metadata import entry_points

    [point] = [one for one in entry_points(group="airflow.plugins") if one.value.startswith("airflow_kling.")]
    assert point.load().name == point.name == "kling_gallery"


def test_provider_info_names_it() -> None:
    from importlib import import_module

    from airflow_kling.get_provider_info import get_provider_info

    [plugin] = get_provider_info()["plugins"]  # type: ignore[misc]
    module, _, name = plugin["plugin-class"].rpartition(".")
    assert getattr(import_module(module), name).name == plugin["name"]


@pytest.mark.skipif(HAS_VIEWS, reason="this Airflow shows pages of plugins")
def test_older_airflow_gets_nothing() -> None:
    from airflow_kling.plugins.gallery.plugin import KlingGalleryPlugin

    plugin = KlingGalleryPlugin()
    assert list(plugin.fastapi_apps) == []
    assert list(plugin.external_views) == []


@pytest.mark.skipif(not HAS_VIEWS, reason="pages of plugins came with Airflow 3.1")
def test_airflow_gets_a_page_and_three_tabs() -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from airflow_kling.plugins.gallery.plugin import KlingGalleryPlugin

    plugin = KlingGalleryPlugin()
    [app] = plugin.fastapi_apps
    assert app["url_prefix"] == "/kling"
    views = [ExternalViewResponse.model_validate(view) for view in plugin.external_views]
    assert [view.destination for view in views] == ["nav", "dag", "dag_run", "task_instance"]
    assert len({view.url_route for view in views}) == 4
    assert [view.href for view in views if view.href.startswith("/")] == []


@pytest.mark.parametrize("version", ["2.11.2", "3.0.6"])
def test_versions_without_views(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_kling.plugins.gallery import plugin

    monkeypatch.setattr(airflow, "__version__", version)
    assert plugin._apps() == []
