"""Tests that the docstring of each public class documents its parameters, and no others."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from tests.docs.blocks import CHECKOUT

REFERENCE = CHECKOUT / "docs" / "reference"
NAMED = sorted({name for page in REFERENCE.glob("*.md") for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)})
PACKAGES_OF_TASKS = (".operators.", ".sensors.", ".hooks.", ".triggers.")
PARAM = re.compile(r":param (\w+):")
#: Parameters of Airflow's own classes that a docstring explains for what they mean here.
OF_AIRFLOW = {
    "KlingReviewImagesOperator": {"assigned_users", "notifiers"},
}


def find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return importlib.import_module(path)


def parameters_of(thing: Any) -> set[str]:
    """Names of the parameters, without those that are passed on."""
    target = thing.__init__ if inspect.isclass(thing) else thing
    passed_on = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = [one.name for one in inspect.signature(target).parameters.values() if one.kind not in passed_on]
    return {name for name in named if not name.startswith("_")} - {"self", "cls"}


def is_public_class_of_tasks(path: str) -> bool:
    return any(
        part in path for part in (".operators.", ".sensors.", ".hooks.", ".triggers.", ".task_group.kling_image")
    )


def explained_by(path: str) -> set[str]:
    """Parameters that a docstring has a line for, or names in the line of another."""
    doc = inspect.getdoc(find(path)) or ""
    return set(PARAM.findall(doc)) | {name for name in parameters_of(find(path)) if f"``{name}``" in doc}


@pytest.mark.parametrize("path", NAMED)
def test_what_the_reference_lists_is_there_and_says_what_it_is(path: str) -> None:
    assert inspect.getdoc(find(path))


@pytest.mark.parametrize("path", [path for path in NAMED if is_public_class_of_tasks(path)])
def test_every_parameter_is_explained(path: str) -> None:
    explained = explained_by(path)
    if path.endswith(".kling_image"):  # says that it has them as the operator does
        explained |= explained_by("airflow_kling.operators.multi_image_to_image.KlingMultiImageToImageOperator")
        explained |= explained_by("airflow_kling.operators.base.KlingGenerationOperator")
        explained |= explained_by("airflow_kling.operators.archive.KlingArchiveImagesOperator")
        explained |= explained_by("airflow_kling.operators.archiving.ArchivingOperator")
    assert parameters_of(find(path)) - explained == set()


@pytest.mark.parametrize("path", [path for path in NAMED if is_public_class_of_tasks(path)])
def test_no_parameter_is_explained_that_is_not_there(path: str) -> None:
    of_airflow = OF_AIRFLOW.get(path.rpartition(".")[2], set())
    assert set(PARAM.findall(inspect.getdoc(find(path)) or "")) - parameters_of(find(path)) == of_airflow


def test_the_reference_lists_all_operators_sensors_hooks_and_triggers() -> None:
    from airflow_kling.get_provider_info import get_provider_info

    info: dict[str, Any] = get_provider_info()
    modules = [
        module
        for kind in ("operators", "sensors", "hooks", "triggers")
        for group in info[kind]
        for module in group["python-modules"]
    ]
    ours = {
        f"{name}.{attribute}"
        for name in modules
        for attribute, value in vars(importlib.import_module(name)).items()
        if inspect.isclass(value) and value.__module__ == name and not attribute.startswith("_")
    }
    assert ours
    assert ours <= set(NAMED)
