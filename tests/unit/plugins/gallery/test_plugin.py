"""The plugin as every process of Airflow loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
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


def test_loading_imports_small_modules_only(tmp_path: Path) -> None:
    added = run(LOAD, tmp_path)
    assert [name for name in added if name.startswith("airflow_kling.")] == [
        "airflow_kling.plugins",
        "airflow_kling.plugins.gallery",
        "airflow_kling.plugins.gallery.plugin",
        "airflow_kling.reporting",
        "airflow_kling.reporting.gallery_urls",
    ]
    assert [name for name in added if name.startswith(HEAVY)] == []


def test_airflow_finds_the_plugins_by_their_entry_points() -> None:
    from importlib.metadata import entry_points

    points = [one for one in entry_points(group="airflow.plugins") if one.value.startswith("airflow_kling.")]
    assert {point.name for point in points} == {"kling_callbacks", "kling_gallery", "kling_preload"}
    assert all(point.load().name == point.name for point in points)


def test_provider_info_names_them() -> None:
    from importlib import import_module

    from airflow_kling.get_provider_info import get_provider_info

    plugins: Any = get_provider_info()["plugins"]
    assert len(plugins) == 3
    for plugin in plugins:
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


BUILT = """
import asyncio, json, sys
from airflow_kling.plugins.gallery import plugin
[entry] = plugin.KlingGalleryPlugin().fastapi_apps
before = set(sys.modules)
from starlette.applications import Starlette
from starlette.testclient import TestClient
outer = Starlette()
outer.mount(entry["url_prefix"], entry["app"])
built = ["airflow_kling.plugins.gallery.app" in sys.modules]
status = TestClient(outer).get("/kling/gallery").status_code
built.append("airflow_kling.plugins.gallery.app" in sys.modules)
print(json.dumps([built, status]))
"""


@pytest.mark.skipif(not HAS_VIEWS, reason="pages of plugins came with Airflow 3.1")
def test_the_app_is_built_at_the_first_request(tmp_path: Path) -> None:
    built, status = run(BUILT, tmp_path)
    assert built == [False, True]
    assert status >= 400  # without Airflow's own app around it nobody has logged in


@pytest.fixture
def rebuilt() -> Iterator[None]:
    from airflow_kling.plugins.gallery import plugin

    plugin.load_app.cache_clear()
    yield
    plugin.load_app.cache_clear()


@pytest.mark.skipif(not HAS_VIEWS, reason="pages of plugins came with Airflow 3.1")
@pytest.mark.parametrize(
    "missing", ["airflow.api_fastapi.core_api.security", "airflow.api_fastapi.app", "airflow.api_fastapi.auth"]
)
def test_without_airflows_authorisation_everything_answers_503(
    missing: str, rebuilt: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from starlette.testclient import TestClient

    from airflow_kling.plugins.gallery import plugin

    for name in [name for name in sys.modules if name.startswith("airflow_kling.plugins.gallery.")]:
        if name != plugin.__name__:
            monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    client = TestClient(plugin.gallery_app)
    for path in ("/", "/gallery", "/states?id=1", "/static/gallery.js", "/dags/open/image?index=0"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (503, "text/plain")
    assert caplog.text.count("The Kling gallery is not available") == 1
