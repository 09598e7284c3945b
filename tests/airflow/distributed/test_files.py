"""Tests that the templates in ``deploy/`` are complete and agree with each other."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from deploy.celery.files import env_files, read_env, read_procfile

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
    "CELERY_POSTGRES": "celery:other@db.example.com:5432/celery",
    "JWT_SECRET": "jwt-secret",
    "API_SECRET_KEY": "api-secret",
    "FERNET_KEY": "fernet=",
}
IMPORTS = "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "worker", "triggerer")
ENV_FILES = ("airflow.env", "impatient.env", *(f"{component}.env" for component in COMPONENTS))
#: Which process has which secret; no other has it.
HOLDERS = {
    "POSTGRES": {"api-server", "scheduler", "dag-processor", "triggerer"},
    "FERNET_KEY": {"api-server", "scheduler", "dag-processor", "triggerer"},
    "JWT_SECRET": {"api-server", "scheduler"},
    "API_SECRET_KEY": {"api-server"},
    "REDIS_URL": {"scheduler", "worker"},
    "CELERY_POSTGRES": {"scheduler", "worker"},
}


def env(name: str) -> dict[str, str]:
    return read_env((CELERY / name).read_text(), VALUES)


def test_procfile_has_every_component() -> None:
    commands = read_procfile((CELERY / "Procfile").read_text())
    components = [" ".join(command[1:3]) for command in commands.values()]
    assert len(components) == 7
    assert components.count("celery worker") == 2
    assert sum(component.startswith("triggerer") for component in components) == 2
    assert {"api-server", "scheduler", "dag-processor"} < set(commands)


@pytest.mark.parametrize("name", ENV_FILES)
def test_env_file_means_the_same_to_a_shell(name: str) -> None:
    script = f"set -a; source {CELERY / name}; env -0"
    output = subprocess.run(["bash", "-c", script], env=VALUES, check=True, capture_output=True, text=True).stdout
    sourced = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    assert env(name)
    assert {key: sourced.get(key) for key in env(name)} == env(name)


def test_every_process_has_its_files() -> None:
    processes = read_procfile((CELERY / "Procfile").read_text())
    named = {name for process in processes for name in env_files(process)}
    assert named == set(ENV_FILES) - {"impatient.env"}
    assert {path.name for path in CELERY.glob("*.env")} == set(ENV_FILES)


@pytest.mark.parametrize("secret", HOLDERS)
def test_secret_is_with_those_who_need_it_alone(secret: str) -> None:
    holders = {
        component
        for component in COMPONENTS
        if any(VALUES[secret] in value for name in env_files(component) for value in env(name).values())
    }
    assert holders == HOLDERS[secret]


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_secret_has_two_uses(component: str) -> None:
    secrets = [
        value for name in env_files(component) for key, value in env(name).items() if "SECRET" in key or "FERNET" in key
    ]
    assert len(secrets) == len(set(secrets))


def test_workers_of_kubernetes_have_no_database_and_no_fernet_key() -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    from_chart = values["enableBuiltInSecretEnvVars"]
    assert [name for name in from_chart if "SQL_ALCHEMY" in name or "FERNET" in name] == list(from_chart)[:3]
    assert not any(from_chart.values())
    assert "env" not in values["workers"]["celery"]
    assert values["workers"]["celery"]["waitForMigrations"] == {"enabled": False}
    for component in ("migrateDatabaseJob", "scheduler", "dagProcessor", "triggerer", "apiServer"):
        assert {one["name"] for one in values[component]["env"]} == {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            "AIRFLOW__CORE__FERNET_KEY",
        }
    secrets = [values[name] for name in ("fernetKeySecretName", "jwtSecretName", "apiSecretKeySecretName")]
    secrets += values["data"].values()
    assert len(secrets) == len(set(secrets))


def test_missing_value_is_named() -> None:
    with pytest.raises(KeyError, match="JWT_SECRET"):
        read_env("A=${JWT_SECRET}", {})


@pytest.mark.parametrize("name", ENV_FILES)
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
    known.add(("scheduler", "num_stuck_in_queued_retries"))  # the scheduler reads it, and no description has it
    settings = [key.lower().split("__")[1:] for key in env(name) if key.startswith("AIRFLOW__")]
    assert [(section, option) for section, option in settings if (section, option) not in known] == []


def test_workers_import_what_exists_and_the_same_on_kubernetes() -> None:
    imports = json.loads(env("worker.env")[IMPORTS])["imports"]
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    assert json.loads(values["config"]["celery"]["extra_celery_config"])["imports"] == imports
    for module in imports:
        importlib.import_module(module)
