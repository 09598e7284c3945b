"""What a user installs and what Airflow reads about it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_kling
from airflow_kling.get_provider_info import get_provider_info

CHECKOUT = Path(__file__).resolve().parent.parent
AIRFLOW_SCHEMAS = resources.files("airflow")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def connection_type() -> dict[str, Any]:
    [connection_type] = get_provider_info()["connection-types"]
    return connection_type


def read_schema(name: str) -> dict[str, Any]:
    return json.loads(AIRFLOW_SCHEMAS.joinpath(name).read_text())


def test_wheel_ships_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"airflow_kling", f"airflow_provider_kling-{airflow_kling.__version__}.dist-info"}
    assert "airflow_kling/py.typed" in wheel.namelist()


def test_wheel_ships_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {file.relative_to(CHECKOUT).as_posix() for file in (CHECKOUT / "airflow_kling").rglob("*.py")}
    assert modules <= set(wheel.namelist())


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = wheel.read(name).decode()
    assert "Name: airflow-provider-kling\n" in metadata
    assert "Classifier: Framework :: Apache Airflow :: Provider\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_dependencies_have_no_upper_bounds() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert [d for d in project["dependencies"] if "<" in d or "==" in d or "~=" in d] == []


@pytest.mark.parametrize("file", sorted((CHECKOUT / "constraints").glob("*.txt")), ids=lambda file: file.stem)
def test_constraints_pin_versions_and_name_no_host(file: Path) -> None:
    for line in file.read_text().splitlines():
        assert "==" in line.partition(";")[0], line
        assert "://" not in line
        assert not line.startswith(("-", "#"))


def test_entry_point_leads_to_the_provider_info() -> None:
    entry_points = importlib.metadata.entry_points(group="apache_airflow_provider")
    [ours] = [point for point in entry_points if point.value.startswith("airflow_kling.")]
    assert ours.name == "provider_info"
    assert ours.load() is get_provider_info


def test_provider_info_fits_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), read_schema("provider_info.schema.json"))


def test_provider_info_names_this_version() -> None:
    assert get_provider_info()["versions"][0] == airflow_kling.__version__


def test_provider_info_imports_nothing() -> None:
    code = (
        "import sys, airflow_kling; before = set(sys.modules); "
        "import airflow_kling.get_provider_info as m; print(sorted(set(sys.modules) - before - {m.__name__}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_provider_info_names_modules_that_exist() -> None:
    info = get_provider_info()
    groups = [info[key] for key in ("operators", "sensors", "hooks", "triggers")]
    for group in groups:
        for module in group[0]["python-modules"]:
            assert (CHECKOUT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_form_behaviour_fits_airflows_schema(connection_type: dict[str, Any]) -> None:
    behaviour = {name.replace("-", "_"): value for name, value in connection_type["ui-field-behaviour"].items()}
    jsonschema.validate(behaviour, read_schema("customized_form_field_behaviours.schema.json"))


def test_hook_and_provider_info_hide_and_rename_the_same_fields(connection_type: dict[str, Any]) -> None:
    from airflow_kling.hooks.kling import KlingHook

    behaviour = KlingHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == connection_type["ui-field-behaviour"]
    assert KlingHook.conn_type == connection_type["connection-type"]
    assert KlingHook.hook_name == connection_type["hook-name"]


def test_hook_and_provider_info_have_the_same_form_fields(connection_type: dict[str, Any]) -> None:
    # Only Airflow 2.11 and the FAB provider bring the form library; without it nobody calls this method.
    pytest.importorskip("flask_appbuilder")
    from wtforms import Form, PasswordField

    from airflow_kling.hooks.kling import KlingHook

    form = type("ConnectionForm", (Form,), KlingHook.get_connection_form_widgets())()
    declared = connection_type["conn-fields"]
    assert {field.name: str(field.label.text) for field in form} == {k: v["label"] for k, v in declared.items()}
    assert {field.name for field in form if isinstance(field, PasswordField)} == {
        name for name, field in declared.items() if field["schema"].get("format") == "password"
    }


def test_airflow_offers_the_connection_type_with_every_field(connection_type: dict[str, Any]) -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.hooks["kling"].hook_name == "Kling"
    prefix = "extra__kling__"
    fields = {name.removeprefix(prefix) for name in manager.connection_form_widgets if name.startswith(prefix)}
    assert fields == set(connection_type["conn-fields"])
    assert manager.field_behaviours["kling"]["relabeling"] == connection_type["ui-field-behaviour"]["relabeling"]
