"""The plugin as every process of Airflow loads it: nothing is mounted unless a connection is named."""

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
HAS_APPS = Version(airflow.__version__).release >= (3, 1)

LOAD = """
import json, sys
from airflow import plugins_manager
try:
    from airflow.providers.common.compat.sdk import AirflowPlugin
except ImportError:
    pass
before = set(sys.modules)
from airflow_kling.plugins.callbacks.plugin import KlingCallbacksPlugin, conn_ids
mounted = [app["url_prefix"] for app in KlingCallbacksPlugin.fastapi_apps]
added = sorted(name for name in set(sys.modules) - before if name.startswith("airflow_kling."))
print(json.dumps([conn_ids(), mounted, added]))
"""


def load(tmp_path: Path, conn_ids: str | None) -> Any:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    if conn_ids is not None:
        environment["AIRFLOW__KLING__CALLBACK_CONN_IDS"] = conn_ids
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(printed.stdout.splitlines()[-1])


@pytest.mark.parametrize("conn_ids", [None, "", " , "], ids=str)
def test_off_by_default(conn_ids: str | None, tmp_path: Path) -> None:
    assert load(tmp_path, conn_ids)[:2] == [[], []]


def test_mounted_where_a_connection_is_named(tmp_path: Path) -> None:
    named, mounted, added = load(tmp_path, "kling_default, team")
    assert named == ["kling_default", "team"]
    assert mounted == (["/kling-callbacks"] if HAS_APPS else [])
    assert added == [
        "airflow_kling.plugins",
        "airflow_kling.plugins.callbacks",
        "airflow_kling.plugins.callbacks.plugin",
    ]
