"""A sensor that goes straight to the triggerer: what Airflow is told at parse time, and what it cannot be told."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

from_3_3 = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts no task in the triggerer before 3.3")
URLS = ["https://example.com/a.png"] * 2


def sensor(kling_task_id: Any, **fields: Any) -> KlingTaskSensor:
    return KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, start_from_trigger=True, **fields)


def kling_task_id_of(task: KlingTaskSensor) -> str:
    assert task.start_trigger_args is not None
    value: str = task.start_trigger_args.trigger_kwargs["kling_task_id"]
    return value


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="Airflow 3.3 can")
def test_older_airflows_are_told_so() -> None:
    with pytest.raises(KlingInputError, match=r"start_from_trigger of task 'wait' needs Airflow 3\.3 or newer"):
        sensor("8334")


def test_it_is_off_by_default() -> None:
    assert not KlingTaskSensor(task_id="wait", kling_task_id="8334").start_from_trigger


@from_3_3
def test_what_airflow_is_told() -> None:
    task = sensor("8334", kling_conn_id="team", poke_interval=timedelta(seconds=30), timeout=600)
    assert task.start_from_trigger
    told = task.start_trigger_args
    assert told is not None
    assert told.trigger_cls == "airflow_kling.triggers.task.KlingTaskTrigger"
    assert told.next_method == "execute_complete"
    assert told.timeout > timedelta(minutes=10)  # ours comes first, with a last look
    assert json.loads(json.dumps(told.trigger_kwargs)) == told.trigger_kwargs
    assert told.trigger_kwargs == {
        "kling_task_id": "8334",
        "route": "multi-image-to-image",
        "kling_conn_id": "team",
        "poke_interval": 30,
        "timeout": 600,
        "end_from_trigger": True,
    }


@from_3_3
@pytest.mark.parametrize("text", ["8334", "{{ params.id }}", "{{ ti.xcom_pull('submit', map_indexes=-1) }}"])
def test_text_is_handed_on(text: str) -> None:
    assert kling_task_id_of(sensor(text)) == text


@from_3_3
def test_output_of_a_task_becomes_a_template_that_the_triggerer_can_render() -> None:
    with DAG("d", schedule=None):
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        wait = sensor(submit.output)
    assert kling_task_id_of(wait) == ("{{ ti.xcom_pull(task_ids='submit', key='return_value', map_indexes=-1) }}")
    assert wait.upstream_task_ids == {"submit"}


@from_3_3
def test_in_a_mapped_group_it_is_the_output_of_the_same_instance() -> None:
    from airflow.sdk import task_group

    @task_group
    def product(prompt: str) -> None:
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS, prompt=prompt)
        sensor(submit.output)

    with DAG("d", schedule=None) as dag:
        product.expand(prompt=["a", "b"])
    assert kling_task_id_of(dag.get_task("product.wait")) == (
        "{{ ti.xcom_pull(task_ids='product.submit', key='return_value', map_indexes=ti.map_index) }}"
    )


@from_3_3
@pytest.mark.parametrize(
    ("kling_task_id", "fields", "words"),
    [
        ("8334", {"deferrable": False}, "needs deferrable=True"),
        ("{{ ti.xcom_pull('submit') }}", {}, "hangs on a plain xcom_pull"),
        (8334, {}, "needs kling_task_id to be a text or submit.output"),
        (None, {}, "needs kling_task_id to be a text or submit.output"),
    ],
)
def test_what_cannot_be_rendered_there(kling_task_id: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        sensor(kling_task_id, **fields)
    assert str(caught.value).startswith("start_from_trigger of task 'wait' ")
    assert words in str(caught.value)


@from_3_3
def test_output_of_a_mapped_task_is_many() -> None:
    with DAG("d", schedule=None):
        submit = KlingMultiImageToImageOperator.partial(task_id="submit", subject_images=URLS).expand(prompt=["a", "b"])
        with pytest.raises(KlingInputError, match=r"submit\.output"):
            sensor(submit.output)


@from_3_3
def test_output_of_another_mapped_group_is_many() -> None:
    from airflow.sdk import task_group

    @task_group
    def product(prompt: str) -> Any:
        return KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS, prompt=prompt).output

    with DAG("d", schedule=None) as dag:
        product.expand(prompt=["a", "b"])
        with pytest.raises(KlingInputError, match="in the same mapped task group"):
            sensor(dag.get_task("product.submit").output)


@from_3_3
@pytest.mark.parametrize(
    "param", [Param(type="string"), Param(None, type="string"), Param("", type="string", minLength=1)]
)
def test_param_without_a_valid_default_is_refused_since_it_would_end_every_triggerer(param: Param) -> None:
    with DAG("d", schedule=None, params={"theme": param}):
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        with pytest.raises(KlingInputError, match=r"start_from_trigger of task 'wait' needs a valid default .* theme"):
            sensor(submit.output)


@from_3_3
@pytest.mark.parametrize("param", [Param("x", type="string"), Param(None, type=["null", "string"]), 3])
def test_param_with_a_valid_default_is_fine(param: Any) -> None:
    with DAG("d", schedule=None, params={"theme": param}):
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        assert sensor(submit.output).start_from_trigger


@from_3_3
def test_the_route_is_handed_on_too() -> None:
    with DAG("d", schedule=None):
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        wait = sensor(submit.output, route=submit.output["route"])
    assert wait.start_trigger_args is not None
    assert wait.start_trigger_args.trigger_kwargs["route"] == (
        "{{ ti.xcom_pull(task_ids='submit', key='route', map_indexes=-1) }}"
    )
    with pytest.raises(KlingInputError, match="cannot use route="):
        sensor("8334", route="{{ ti.xcom_pull('submit') }}")
