"""Makes ``dag.param(...)`` storable, so that an operator may be given it on Airflow 3.0 to 3.2.1 too."""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

ON_THIS_AIRFLOW = AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_3_PLUS  # 3.2.2 does not need it, and is not hurt


def make_storable(operator: Any) -> None:
    """Replace each ``dag.param(...)`` in a templated field; call it when a templated field was set.

    Airflow before 3.2.2 serializes a ``DagParam`` without a default to a dict with its mark for "not given", which no
    message can carry: the process that parses the file dies, and its DAGs are never listed, without an import error.
    Jinja in its place would change values: as text a list is lost, and natively the prompt ``1984`` becomes a number.
    """
    if ON_THIS_AIRFLOW:
        for field in operator.template_fields:
            setattr(operator, field, storable(getattr(operator, field)))


def storable(value: Any) -> Any:
    """The same parameter, serialized without its default; anything else as it is."""
    from airflow.sdk.definitions.param import DagParam

    if not isinstance(value, DagParam) or isinstance(value, _storable_class()):
        return value
    described = value.serialize()
    return _storable_class()(value.current_dag, described["name"], described["default"])


@cache
def _storable_class() -> Any:
    from airflow.sdk.definitions.param import DagParam

    class StorableDagParam(DagParam):
        """Serialized without its default, which may be Airflow's mark for "not given"."""

        def serialize(self) -> dict[str, Any]:
            described = super().serialize()
            return {name: described[name] for name in ("dag_id", "name")}

    return StorableDagParam
