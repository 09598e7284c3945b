"""Tests that the templates in ``deploy/`` are complete and agree with each other."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from deploy.celery.files import read_env, read_procfile

DEPLOY = Path(__file__).parents[3] / "deploy"
CELERY = DEPLOY / "celery"
VALUES = {
    "AIRFLOW_HOME": "/srv/airflow",
    "DAGS_FOLDER": "/srv/dags",
    "POSTGRES": "user:secret@db.example.com:5432/airflow",
    "REDIS_URL": "redis://:secret@redis.example.com:6379/0",
    "API_URL": "https://airflow.example.com",
    "API_HOST": "0.0.0.0",
    "API_PORT": "8080",
    "JWT_SECRET": "jwt",
    "FERNET_KEY": "fernet=",
}
IMPORTS = "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"


def env(name: str) -> dict[str, str]:
    return read_env((CELERY / name).read_text(), VALUES)


def test_procfile_has_every_component() -> None:
    commands = read_procfile((CELERY / "Procfile").read_text())
    components = [" ".join(command[1:3]) for command in commands.values()]
    assert len(components) == 7
    assert components.count("celery worker") == 2
    assert sum(component.startswith("triggerer") for component in components) == 2
    assert {"api-server", "scheduler", "dag-processor"} < set(commands)


@pytest.mark.parametrize("name", ["airflow.env", "impatient.env"])
def test_env_file_means_the_same_to_a_shell(name: str) -> None:
    script = f"set -a; source {CELERY / name}; env -0"
    output = subprocess.run(["bash", "-c", script], env=VALUES, check=True, capture_output=True, text=True).stdout
    sourced = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    assert env(name)
    assert {key: sourced.get(key) for key in env(name)} == env(name)


def test_missing_value_is_named() -> None:
    with pytest.raises(KeyError, match="JWT_SECRET"):
        read_env("A=${JWT_SECRET}", {})


@pytest.mark.parametrize("name", ["airflow.env", "impatient.env"])
@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="the env files are for Airflow 3; 2.11 has other settings")
def test_every_setting_is_one_of_airflow(name: str) -> None:
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    known = {
        (section, option)
        for section, options in conf.configuration_description.items()
        for option in options["options"]
    }
    settings = [key.lower().split("__")[1:] for key in env(name) if key.startswith("AIRFLOW__")]
    assert [(section, option) for section, option in settings if (section, option) not in known] == []


def test_workers_import_what_exists_and_the_same_on_kubernetes() -> None:
    imports = json.loads(env("airflow.env")[IMPORTS])["imports"]
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    assert json.loads(values["config"]["celery"]["extra_celery_config"])["imports"] == imports
    for module in imports:
        importlib.import_module(module)
