"""Offers what a DAG author writes: operators that submit, archive, review and publish."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from airflow_kling.operators.base import KlingGenerationOperator


def find_operator(route_name: str) -> type[KlingGenerationOperator]:
    """Return the operator of a route, which is the one in the module of the route's name."""
    module = import_module(f"{__name__}.{route_name.replace('-', '_')}")
    own = (kind for kind in vars(module).values() if getattr(kind, "__module__", None) == module.__name__)
    operator: type[KlingGenerationOperator] = next(kind for kind in own if hasattr(kind, "kling_route"))
    return operator
