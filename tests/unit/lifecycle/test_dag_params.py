"""``dag.param(...)`` as an argument of our operators: what Airflow stores of it is plain, on every line of Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from airflow.serialization import serialized_objects

from airflow_kling import kling_image
from airflow_kling.lifecycle.dag_params import make_storable, storable
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.sensors.task import KlingTaskSensor

from_3_0 = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 stores it as text")
URLS = ["https://example.com/a.png", "https://example.com/b.png"]


def review(dag: Any) -> None:
    from airflow_kling.operators.review import KlingReviewImagesOperator

    KlingReviewImagesOperator(task_id="review", manifest=dag.param("y"))


OPERATORS: dict[str, Callable[[Any], Any]] = {
    "generate": lambda dag: KlingMultiImageToImageOperator(task_id="a", subject_images=URLS, prompt=dag.param("x")),
    "a list": lambda dag: KlingMultiImageToImageOperator(task_id="a", subject_images=dag.param("x")),
    "a default": lambda dag: KlingMultiImageToImageOperator(
        task_id="a", subject_images=URLS, prompt=dag.param("z", "1984")
    ),
    "mapped": lambda dag: KlingMultiImageToImageOperator.partial(
        task_id="a", subject_images=URLS, prompt=dag.param("x")
    ).expand(n=[1, 2]),
    "wait": lambda dag: KlingTaskSensor(task_id="a", kling_task_id=dag.param("x")),
    "archive": lambda dag: KlingArchiveImagesOperator(task_id="a", task="8334", destination=dag.param("x")),
    "publish": lambda dag: KlingPublishImagesOperator(task_id="a", review={}, destination=dag.param("x")),
    "review": review,
    "kling_image": lambda dag: kling_image("a", subject_images=dag.param("x"), destination=dag.param("x")),
}


def serialize(dag: Any) -> dict[str, Any]:
    serialization: Any = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    return dict(serialization.to_dict(dag))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_dag_with_it_can_be_stored(name: str) -> None:
    """Airflow 3.0 to 3.2.1 stored their mark for "no default", on which the process that parses the file dies."""
    if name == "review" and not AIRFLOW_V_3_1_PLUS:
        pytest.skip("Airflow asks a person from 3.1 on")
    # Airflow 3.1's own HITLOperator wants a default of each param of its DAG.
    params = {"y": "a"} if name == "review" else {"x": Param(type="string")}
    with DAG("d", schedule=None, params=params) as dag:
        OPERATORS[name](dag)
    assert json.loads(json.dumps(serialize(dag)))


@from_3_0
@pytest.mark.parametrize("default", [(), ("a default",)], ids=["none", "text"])
def test_what_is_stored_is_plain(default: tuple[Any, ...]) -> None:
    with DAG("d", schedule=None, params={"x": Param(type="string")}) as dag:
        parameter = storable(dag.param("x", *default))
    assert parameter.serialize() == {"dag_id": "d", "name": "x"}


@from_3_0
@pytest.mark.parametrize("value", ["1984", ["a", "b"], None, "None", '"quoted"'], ids=str)
def test_the_value_of_the_run_arrives_as_it_is(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.lifecycle.dag_params.ON_THIS_AIRFLOW", True)
    with DAG("d", schedule=None, params={"x": Param(type=["string", "array", "null"])}) as dag:
        task = KlingMultiImageToImageOperator(task_id="a", subject_images=URLS, prompt=dag.param("x"))
    assert task.prompt.serialize() == {"dag_id": "d", "name": "x"}
    task.render_template_fields({"params": {"x": value}, "dag_run": type("Run", (), {"conf": {"x": value}})})
    assert task.prompt == value


@from_3_0
def test_the_destination_of_a_group_is_stored_plain_by_each_task_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.lifecycle.dag_params.ON_THIS_AIRFLOW", True)
    with DAG("d", schedule=None, params={"x": Param(type="string")}) as dag:
        OPERATORS["kling_image"](dag)
    stored = {name: dag.get_task(f"a.{name}").destination.serialize() for name in ("submit", "archive")}
    plain = {"dag_id": "d", "name": "x"}
    assert stored == {"submit": plain, "archive": plain}


@from_3_0
def test_everything_else_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_kling.lifecycle.dag_params.ON_THIS_AIRFLOW", True)
    task = KlingMultiImageToImageOperator(task_id="a", subject_images=URLS, prompt="{{ params.x }}", n=2)
    before = {name: getattr(task, name) for name in task.template_fields}
    make_storable(task)
    assert {name: getattr(task, name) for name in task.template_fields} == before
    assert task.subject_images is URLS
