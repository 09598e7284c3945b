"""``kling_image``: its groups as Airflow sees them, and as whole DAG runs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

import airflow_kling
from airflow_kling import kling_image
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
from tests.integration.dag_runs import manifests, states

URLS = ["https://example.com/a.png", "https://example.com/b.png"]
DESTINATION = "s3://bucket/kling"

# --- as a DAG is parsed -----------------------------------------------------------------------------------------------


def test_one_call_is_a_group_of_three_tasks() -> None:
    with DAG("d", schedule=None) as dag:
        kling_image("shoes", subject_images=URLS, prompt="on a beach", destination=DESTINATION)
    assert [(one.task_id, one.upstream_task_ids) for one in dag.topological_sort()] == [
        ("shoes.submit", set()),
        ("shoes.wait", {"shoes.submit"}),
        ("shoes.archive", {"shoes.wait"}),
    ]
    submit, wait, archive = (dag.get_task(f"shoes.{name}") for name in ("submit", "wait", "archive"))
    assert (submit.prompt, submit.subject_images, submit.deferrable) == ("on a beach", URLS, True)
    assert wait.deferrable
    assert archive.destination == DESTINATION
    assert archive.outlets == [Asset("kling_images")]


def test_it_has_neighbours_as_a_whole_and_an_output() -> None:
    @task
    def note(images: Any = None) -> None: ...

    with DAG("d", schedule=None) as dag:
        images = kling_image("shoes", subject_images=URLS, destination=DESTINATION)
        note.override(task_id="before")() >> images >> note.override(task_id="after")()
        [note.override(task_id="also_before")()] >> images
        images << note.override(task_id="third")()
        note.override(task_id="use")(images.output)
    assert dag.get_task("shoes.submit").upstream_task_ids == {"before", "also_before", "third"}
    assert dag.get_task("shoes.archive").downstream_task_ids == {"after", "use"}
    assert images.upstream_task_ids == {"before", "also_before", "third"}


def test_with_a_pool_one_task_holds_the_slots_from_submission_to_end() -> None:
    with DAG("d", schedule=None) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, n=3, pool="kling", poke_interval=7)
    assert set(dag.task_ids) == {"shoes.generate", "shoes.archive"}
    generate, archive = dag.get_task("shoes.generate"), dag.get_task("shoes.archive")
    assert (generate.pool, generate.pool_slots, generate.n) == ("kling", 3, 3)
    assert (generate.wait_for_completion, generate.deferrable, generate.poke_interval) == (True, True, 7)
    assert archive.pool == "default_pool"
    assert archive.upstream_task_ids == {"shoes.generate"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": "{{ params.n }}"}, "with pool it must be a number"),
        ({"start_from_trigger": True}, "start_from_trigger does not go with pool"),
    ],
)
def test_what_does_not_go_with_a_pool(fields: dict[str, Any], words: str) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, pool="kling", **fields)


def test_every_option_reaches_its_tasks() -> None:
    outlet = Asset("mine")
    with DAG("d", schedule=None, default_args={"retries": 5, "owner": "us"}) as dag:
        kling_image(
            "shoes",
            subject_images=URLS,
            destination=DESTINATION,
            kling_conn_id="team",
            aws_conn_id="store",
            s3_extra_args={"StorageClass": "GLACIER"},
            max_image_bytes=5,
            outlets=[outlet],
            submit_timeout=11,
            on_unknown="resubmit",
            on_clear="reuse",
            on_input_change="new",
            deferrable=False,
            poke_interval=12,
            timeout=13,
            default_args={"retries": 3},
        )
    submit, wait, archive = (dag.get_task(f"shoes.{name}") for name in ("submit", "wait", "archive"))
    assert {one.kling_conn_id for one in (submit, wait, archive)} == {"team"}
    assert {(one.retries, one.owner) for one in (submit, wait, archive)} == {(3, "us")}
    assert (submit.submit_timeout, submit.on_unknown, submit.on_clear, submit.on_input_change, submit.deferrable) == (
        (11, "resubmit", "reuse", "new", False)
    )
    assert (wait.deferrable, wait.poke_interval, wait.timeout) == (False, 12, 13)
    assert (archive.aws_conn_id, archive.s3_extra_args, archive.max_image_bytes, archive.outlets) == (
        ("store", {"StorageClass": "GLACIER"}, 5, [outlet])
    )


def test_it_offers_what_the_operators_do_with_the_same_defaults() -> None:
    ours = inspect.signature(kling_image).parameters
    of_one_task = {"self", "kwargs", "kling_task_id", "task", "wait_for_completion"}
    for kind in (KlingMultiImageToImageOperator, KlingTaskSensor, KlingArchiveImagesOperator):
        theirs = inspect.signature(inspect.unwrap(kind.__init__)).parameters
        assert theirs.keys() - of_one_task <= ours.keys()
        shared = theirs.keys() - of_one_task - {"deferrable"}
        assert {name: ours[name].default for name in shared} == {name: theirs[name].default for name in shared}
    assert ours["deferrable"].default is True


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts no task in the triggerer before 3.3")
def test_start_from_trigger_works_in_a_mapped_group_too() -> None:
    with DAG("d", schedule=None) as dag:
        kling_image.partial("shoes", subject_images=URLS, destination=DESTINATION, start_from_trigger=True).expand(
            prompt=["a", "b"]
        )
    assert dag.get_task("shoes.wait").start_from_trigger


def test_an_unknown_option_is_refused_while_parsing() -> None:
    with DAG("d", schedule=None), pytest.raises(TypeError, match="promt"):
        kling_image.partial("shoes", promt="on a beach")


@pytest.mark.parametrize("names", [{"pool": ["a"]}, {"prompt": ["a"]}, {"timeout": [1]}])
def test_what_cannot_be_mapped_over_is_refused_while_parsing(names: dict[str, Any]) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=f"{next(iter(names))} cannot be mapped over"):
        kling_image.partial("shoes", subject_images=URLS, destination=DESTINATION, prompt="p").expand(**names)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"subject_images": URLS}, "no destination"),
        ({"subject_images": URLS, "destination": ""}, "no destination"),
        ({}, "no subject_images and no destination"),
        ({"subject_images": URLS, "destination": DESTINATION, "promt": "typo"}, "promt cannot be mapped over"),
    ],
)
def test_a_wrong_row_is_refused_while_parsing(row: dict[str, Any], words: str) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image.partial("shoes").expand_kwargs([row])


def test_the_package_offers_it_and_nothing_unknown() -> None:
    assert set(airflow_kling.__all__) == {"__version__", "kling_image"}
    with pytest.raises(AttributeError, match="klong_image"):
        _ = airflow_kling.klong_image


# --- as DAG runs ------------------------------------------------------------------------------------------------------

HEAD = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_kling import kling_image

@task
def count(images):
    return [image["kling_task_id"] for image in list(images)]

"""

ONE = (
    HEAD
    + """
with DAG("kling_one", schedule=None) as dag:
    shoes = kling_image(
        "shoes", subject_images=SUBJECTS, prompt="{{ dag.dag_id }}", destination=DESTINATION, poke_interval=0.05
    )

    @task
    def use(images):
        assert len(images["images"]) == 1, images

    use(shoes.output)
"""
)

ROWS = (
    HEAD
    + """
with DAG("kling_rows", schedule=None) as dag:

    @task
    def rows():
        return [
            {"prompt": "a cat", "subject_images": SUBJECTS, "n": "2"},
            {"promt": "a typo", "subject_images": SUBJECTS},
            {"prompt": "{{ 7 * 7 }}", "subject_images": SUBJECTS, "aspect_ratio": "", "scene_image": None},
            {"prompt": "too many", "subject_images": SUBJECTS, "n": 10},
        ]

    images = kling_image.partial("product", destination=DESTINATION, poke_interval=0.05).expand_kwargs(rows())
    count.override(trigger_rule="all_done")(images.output)
"""
)

PROMPTS = (
    HEAD
    + """
with DAG("kling_prompts", schedule=None) as dag:
    images = kling_image.partial(
        "product", subject_images=SUBJECTS, destination=DESTINATION, poke_interval=0.05, n=2, pool="default_pool"
    ).expand(prompt=["a cat", "a dog"])
    count(images.output)
"""
)

in_dag_runs = pytest.mark.usefixtures("quick", "airflow_home")


@in_dag_runs
def test_one_generation_and_a_task_that_uses_it(fast: Emulator, run: Any, archive: Path) -> None:
    assert set(states(run("kling_one", ONE)).values()) == {"success"}
    [manifest] = manifests(archive)
    assert manifest["request"]["prompt"] == "kling_one"


@in_dag_runs
def test_rows_fail_alone_and_before_anything_is_submitted(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_rows", ROWS))
    for name in ("submit", "wait", "archive"):
        failed = "failed" if name == "submit" else "upstream_failed"
        assert [found[f"product.{name}[{i}]"] for i in range(4)] == ["success", failed, "success", failed]
    requests = {manifest["request"]["prompt"]: manifest["request"] for manifest in manifests(archive)}
    assert set(requests) == {"a cat", "{{ 7 * 7 }}"}, "what comes from a row is no template"
    assert requests["a cat"]["n"] == 2
    assert requests["{{ 7 * 7 }}"]["n"] == 1
    assert requests["{{ 7 * 7 }}"]["aspect_ratio"] == "16:9"
    assert fast.ledger()["requests"]["create"] == 2


@in_dag_runs
def test_mapped_over_a_list_with_a_pool(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_prompts", PROMPTS))
    assert found == {
        **{f"product.{name}[{i}]": "success" for name in ("generate", "archive") for i in range(2)},
        "count[-1]": "success",
    }
    assert sorted(manifest["request"]["prompt"] for manifest in manifests(archive)) == ["a cat", "a dog"]
    assert {len(manifest["images"]) for manifest in manifests(archive)} == {2}
