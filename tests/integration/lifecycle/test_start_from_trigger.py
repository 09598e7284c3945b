"""A sensor that goes straight to the triggerer: what Airflow is told at parse time, and what it cannot be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, Param, ParamValidationError, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.lifecycle.start_from_trigger import why_on_worker
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

from_3_3 = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts no task in the triggerer before 3.3")
NOW = datetime.now(UTC)
URLS = ["https://example.com/a.png"] * 2


def sensor(kling_task_id: Any, wish: bool | None = True, **fields: Any) -> KlingTaskSensor:
    return KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, start_from_trigger=wish, **fields)


def kling_task_id_of(task: KlingTaskSensor) -> str:
    assert task.start_trigger_args is not None
    value: str = task.start_trigger_args.trigger_kwargs["kling_task_id"]
    return value


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="Airflow 3.3 can")
def test_older_airflows_are_told_so() -> None:
    with pytest.raises(KlingInputError, match=r"start_from_trigger of task 'wait' needs Airflow 3\.3 or newer"):
        sensor("8334")


def test_without_a_wish_it_is_used_where_airflow_can_and_else_silently_not() -> None:
    task = KlingTaskSensor(task_id="wait", kling_task_id="8334")
    assert task.start_from_trigger is AIRFLOW_V_3_3_PLUS
    assert bool(task.start_trigger_args) is AIRFLOW_V_3_3_PLUS
    assert why_on_worker(task) is None


def test_who_does_not_want_it_gets_a_worker() -> None:
    for task in (sensor("8334", wish=False), sensor("8334", wish=None, deferrable=False)):
        assert task.start_from_trigger is False
        assert task.start_trigger_args is None
        assert why_on_worker(task) is None


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


DEFAULTS = [Param("x", type="string"), Param(None, type="string"), Param([], type="array", minItems=1), 3]


@from_3_3
def test_a_param_without_a_default_is_refused_since_it_would_end_every_triggerer() -> None:
    with DAG("d", schedule=None, params={"theme": Param(type="string")}) as dag:
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        with pytest.raises(KlingInputError, match=r"start_from_trigger of task 'wait' needs a default for .*'theme'"):
            sensor(submit.output)
        KlingTaskSensor(task_id="open", kling_task_id=submit.output)
    with pytest.raises(ParamValidationError):
        params_in_triggerer(dag, "open", {"theme": "of the run"})


@from_3_3
@pytest.mark.parametrize("param", DEFAULTS, ids=repr)
@pytest.mark.parametrize("conf", [{"theme": "of the run"}, {}])
def test_a_param_with_any_default_is_fine(param: Any, conf: dict[str, Any]) -> None:
    with DAG("d", schedule=None, params={"theme": param}) as dag:
        submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS)
        assert sensor(submit.output).start_from_trigger
    default = param.value if isinstance(param, Param) else param
    assert params_in_triggerer(dag, "wait", conf) == {"theme": default, **conf}


def params_in_triggerer(dag: DAG, task_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Return the params of a run as Airflow's triggerer resolves them, before it renders the id."""
    from airflow.executors.workloads import TaskInstanceDTO
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.serialization.serialized_objects import DagSerialization

    of_run = {"dag_id": "d", "run_id": "r"}
    ti = TaskInstanceDTO.model_construct(id=uuid4(), task_id=task_id, try_number=1, map_index=-1, **of_run)
    at = dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date"), NOW)
    dag_run = {**of_run, **at, "end_date": None, "clear_number": 0, "run_type": "manual", "state": "running"}
    more = {"conf": conf, "consumed_asset_events": [], "partition_key": None}
    made = TriggerRunner.create_runtime_ti(ti, DagSerialization.to_dict(dag), {**dag_run, **more})
    found: dict[str, Any] = made.get_template_context()["params"]
    return found


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


# --- what needs a worker, where the author leaves it open ---------------------------------------------------------


def called(*_: Any) -> None: ...


CALLED, LIMIT = "which only a worker calls", "which Airflow checks only before it queues a task"
NEED_A_WORKER = [
    ({"on_execute_callback": called}, f"on_execute_callback, {CALLED}"),
    ({"on_success_callback": [called]}, f"on_success_callback, {CALLED}"),
    ({"pre_execute": called}, f"pre_execute, {CALLED}"),
    ({"post_execute": called}, f"post_execute, {CALLED}"),
    ({"outlets": [Asset("waited")]}, "outlets, whose events only a worker emits"),
    ({"map_index_template": "{{ ti.map_index }}"}, "map_index_template, which only a worker renders"),
    ({"do_xcom_push": False}, "do_xcom_push, which only a worker heeds"),
    ({"multiple_outputs": True}, "multiple_outputs, which only a worker heeds"),
    ({"execution_timeout": timedelta(hours=1)}, "execution_timeout, which would end the whole wait"),
    ({"pool": "kling"}, f"pool, {LIMIT}"),
    ({"max_active_tis_per_dag": 3}, f"max_active_tis_per_dag, {LIMIT}"),
    ({"max_active_tis_per_dagrun": 3}, f"max_active_tis_per_dagrun, {LIMIT}"),
    ({"kling_conn_id": "{{ macros.ours() }}"}, "the template in kling_conn_id, which may need a worker"),
    ({"route": "{{ params.route }}"}, "the template in route, which may need a worker"),
]
NEED_NONE: list[dict[str, Any]] = [
    {"on_failure_callback": called, "on_retry_callback": [called], "on_skipped_callback": called},
    {"retries": 3, "retry_delay": 1, "retry_exponential_backoff": True, "soft_fail": True},
    {"queue": "gpu", "executor_config": {"KubernetesExecutor": {}}, "run_as_user": "kling", "priority_weight": 7},
    {"trigger_rule": "all_done", "depends_on_past": True, "wait_for_downstream": True, "inlets": [Asset("references")]},
    {"email": "us@example.com", "email_on_failure": True, "pool": "default_pool", "pool_slots": 2, "outlets": []},
    {"params": {"own": Param("x", type="string")}},
    {"mode": "reschedule", "poke_interval": 3, "timeout": 60, "doc_md": "waits"},
]


@from_3_3
@pytest.mark.parametrize(("given", "words"), NEED_A_WORKER, ids=lambda given: next(iter(given)) if given else "")
def test_what_needs_a_worker_is_named(given: dict[str, Any], words: str) -> None:
    with DAG("d", schedule=None):
        task = sensor("8334", wish=None, **given)
    assert why_on_worker(task) is not None
    assert f"does not go with {words}" in str(why_on_worker(task))
    assert not task.start_from_trigger


@from_3_3
@pytest.mark.parametrize("given", NEED_NONE, ids=lambda given: next(iter(given)))
def test_what_works_the_same_in_the_triggerer_needs_none(given: dict[str, Any]) -> None:
    with DAG("d", schedule=None, params={"theme": Param("x", type="string")}):
        task = sensor("8334", wish=None, **given)
    assert why_on_worker(task) is None
    assert task.start_from_trigger


@from_3_3
def test_default_args_need_a_worker_as_well() -> None:
    with DAG("d", schedule=None, default_args={"on_success_callback": called}):
        left_open = KlingTaskSensor(task_id="open", kling_task_id="8334")
        wished = sensor("8334")
    assert not left_open.start_from_trigger
    assert wished.start_from_trigger, "whoever wishes it has it"


@from_3_3
def test_what_cluster_policies_give_it_later_counts_too() -> None:
    with DAG("d", schedule=None) as dag:
        task = sensor("8334", wish=None)
    task.on_execute_callback = [called]
    assert not serialized(dag, "wait").get("start_from_trigger")
    task.on_execute_callback = []
    dag.params["theme"] = Param(type="string")
    assert "needs a default for param 'theme'" in str(why_on_worker(task))


@from_3_3
def test_who_maps_over_the_result_needs_a_length_that_only_a_worker_stores() -> None:
    from airflow.sdk import task, task_group

    @task
    def show(field: Any) -> None: ...

    @task_group
    def each(field: Any) -> None:
        show(field)

    with DAG("d", schedule=None) as dag:
        by_task, by_group, by_none = (
            KlingTaskSensor(task_id=name, kling_task_id="8334") for name in ("by_task", "by_group", "by_none")
        )
        show.expand(field=by_task.output)
        each.expand(field=by_group.output)
        show.partial(field=by_none.output).expand_kwargs([{}])
    for one, name in ((by_task, "show"), (by_group, "each")):
        assert f"does not go with {name!r}, which is mapped over its result" in str(why_on_worker(one))
        assert not serialized(dag, one.task_id).get("start_from_trigger")
    assert why_on_worker(by_none) is None


@from_3_3
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AIRFLOW__CORE__XCOM_BACKEND", "our.Backend", r"[core] xcom_backend, whose own code"),
        ("AIRFLOW__TRIGGERER__QUEUES_ENABLED", "True", r"[triggerer] queues_enabled, since"),
    ],
)
def test_what_this_airflow_is_configured_to(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert words in str(why_on_worker(sensor("8334", wish=None)))


@from_3_3
def test_fields_that_cluster_policies_set_hold_in_the_triggerer_as_on_a_worker() -> None:
    with DAG("d", schedule=None) as dag:
        task = sensor("8334", wish=None, timeout=600)
    task.kling_conn_id = "team"
    assert task.start_trigger_args.trigger_kwargs["kling_conn_id"] == "team"
    limit = task.start_trigger_args.timeout
    task.timeout = timedelta(seconds=5)  # type: ignore[assignment]
    assert task.start_trigger_args.timeout == limit, "a worker goes by what the author gave, too"
    assert serialized(dag, "wait")["start_from_trigger"]
    task.kling_conn_id = "{{ params.team }}"
    assert "does not go with the template in kling_conn_id" in str(why_on_worker(task))
    task.kling_conn_id = "team"
    task.deferrable = False
    assert not serialized(dag, "wait").get("start_from_trigger")


class Theirs(KlingTaskSensor):
    """A sensor of the author's."""


@from_3_3
def test_a_sensor_of_the_author_s_has_code_of_the_author_s() -> None:
    task = Theirs(task_id="wait", kling_task_id="8334")
    assert "class Theirs, whose own code only a worker runs" in str(why_on_worker(task))
    assert Theirs(task_id="wait", kling_task_id="8334", start_from_trigger=True).start_from_trigger


@from_3_3
def test_the_reason_is_in_the_log_of_the_worker_that_it_needs(
    kling: Emulator, submitted: Any, plain_logs: pytest.LogCaptureFixture
) -> None:
    said = "The wait begins on a worker: start_from_trigger does not go with pool, which Airflow checks only before"
    for fields, times in (({"pool": "kling"}, 1), ({}, 0), ({"pool": "kling", "wish": False}, 0)):
        plain_logs.clear()
        with pytest.raises(TaskDeferred):
            sensor(submitted(), **{"wish": None, **fields}).execute({})
        assert plain_logs.text.count(said) == times


@from_3_3
def test_a_try_that_fails_leaves_no_result_of_an_earlier_one(
    kling: Emulator, ti: Any, monkeypatch: pytest.MonkeyPatch, plain_logs: pytest.LogCaptureFixture
) -> None:
    """Airflow deletes it when a try starts on a worker, which this one did not."""
    deleted: list[dict[str, Any]] = []
    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.delete", lambda **of: deleted.append(of))
    event = {"kling_task_id": "unknown", "status": "error"}
    with pytest.raises(KlingError):
        sensor("unknown").execute_complete({"ti": ti}, event)
    assert [one["key"] for one in deleted] == ["return_value"]
    assert {name: deleted[0][name] for name in ("dag_id", "run_id", "task_id", "map_index")} == {
        name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")
    }
    with pytest.raises(KlingError):
        sensor("unknown").execute_complete({"ti": ti}, event, kling_task_id="unknown")
    assert len(deleted) == 1, "a worker was there"

    def refuse(**_: Any) -> None:
        raise ConnectionError("with a secret")

    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.delete", refuse)
    with pytest.raises(KlingError):
        sensor("unknown").execute_complete({"ti": ti}, event)
    assert "The result of an earlier try was not deleted: ConnectionError" in plain_logs.text
    assert "secret" not in plain_logs.text


@from_3_3
def test_airflow_reads_it_of_the_task_and_of_a_mapped_task_never() -> None:
    with DAG("d", schedule=None) as dag:
        submit = KlingMultiImageToImageOperator.partial(task_id="submit", subject_images=URLS).expand(prompt=["a", "b"])
        KlingTaskSensor.partial(task_id="each").expand(kling_task_id=submit.output)
        sensor("8334", wish=None)
    assert serialized(dag, "wait")["start_from_trigger"]
    assert serialized(dag, "wait")["start_trigger_args"]["next_method"] == "execute_complete"
    assert not serialized(dag, "each").get("start_from_trigger")
    assert not serialized(dag, "each").get("start_trigger_args")


def serialized(dag: DAG, task_id: str) -> dict[str, Any]:
    """Return what Airflow stores of a task."""
    from airflow.serialization.serialized_objects import DagSerialization

    tasks = {one["__var"]["task_id"]: one["__var"] for one in DagSerialization.to_dict(dag)["dag"]["tasks"]}
    found: dict[str, Any] = tasks[task_id]
    return found
