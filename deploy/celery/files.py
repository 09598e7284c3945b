"""Reads the Procfile and the env files as a process manager and a shell would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from string import Template


def read_procfile(text: str) -> dict[str, list[str]]:
    """Return the command of each process by its name."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name.strip(): shlex.split(command) for name, _, command in (line.partition(":") for line in lines)}


def read_env(text: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an env file, quoted as in a shell, each ``${NAME}`` in it replaced.

    :raises KeyError: a value is missing.
    """
    assignments = shlex.split(Template(text).substitute(values), comments=True)
    return {name: value for name, _, value in (one.partition("=") for one in assignments)}


def env_files(process: str) -> tuple[str, str]:
    """Name the env files of a process of the Procfile: what every process has, and what its component has."""
    return "airflow.env", f"{re.sub(r'-[0-9]+$', '', process)}.env"
