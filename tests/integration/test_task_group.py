"""``kling_image``: its groups as Airflow sees them, and as whole DAG runs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, TaskGroup, task
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

import airflow_kling
from airflow_kling import kling_generate, kling_image
from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.archiving import ArchivingOperator
from airflow_kling.operators.generate import KlingImageToVideoOperator, KlingMultiImageToImageOperator
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
    assert archive.destination == submit.destination == DESTINATION
    assert not submit.archives
    assert submit.outlets == []
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


def test_compact_is_one_task() -> None:
    with DAG("d", schedule=None) as dag:
        shoes = kling_image("shoes", subject_images=URLS, destination=DESTINATION, compact=True, timeout=9)
        kling_generate("clip", route="image-to-video", image=shoes.output, destination=DESTINATION, compact=True)
    assert set(dag.task_ids) == {"shoes.generate", "clip.generate"}
    generate, clip = dag.get_task("shoes.generate"), dag.get_task("clip.generate")
    assert (generate.destination, generate.deferrable, generate.timeout) == (DESTINATION, True, 9)
    assert (generate.pool, generate.pool_slots) == ("default_pool", 1)
    assert generate.outlets == clip.outlets == [Asset("kling_images")]
    assert clip.upstream_task_ids == {"shoes.generate"}


def test_with_a_pool_one_task_holds_the_slots_from_submission_to_end() -> None:
    with DAG("d", schedule=None) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, n=3, pool="kling", poke_interval=7)
    assert set(dag.task_ids) == {"shoes.generate"}
    generate = dag.get_task("shoes.generate")
    assert (generate.pool, generate.pool_slots, generate.n) == ("kling", 3, 3)
    assert (generate.destination, generate.deferrable, generate.poke_interval) == (DESTINATION, True, 7)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pool": "kling", "n": "{{ params.n }}"}, "with pool it must be a number"),
        ({"pool": "kling", "start_from_trigger": True}, "start_from_trigger does not go with pool or compact"),
        ({"compact": True, "start_from_trigger": True}, "start_from_trigger does not go with pool or compact"),
    ],
)
def test_what_does_not_go_with_one_task(fields: dict[str, Any], words: str) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, **fields)


def test_a_destination_of_the_default_args_is_that_of_the_archive() -> None:
    with DAG("d", schedule=None, default_args={"destination": "s3://of/the/dag"}) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION)
    assert not dag.get_task("shoes.submit").archives
    assert dag.get_task("shoes.archive").destination == DESTINATION


OPTIONS: dict[str, Any] = {
    "kling_conn_id": "team",
    "aws_conn_id": "store",
    "s3_extra_args": {"StorageClass": "STANDARD_IA"},
    "max_image_bytes": 5,
    "max_video_seconds": 6,
    "accept_unverified": True,
    "outlets": [Asset("mine")],
    "submit_timeout": 11,
    "on_unknown": "resubmit",
    "on_clear": "reuse",
    "deferrable": False,
    "poke_interval": 12,
    "timeout": 13,
}


@pytest.mark.parametrize("from_default_args", [False, True], ids=["passed", "default_args"])
def test_every_option_reaches_the_one_task(from_default_args: bool) -> None:
    given = {"default_args": OPTIONS} if from_default_args else OPTIONS
    with DAG("d", schedule=None) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, compact=True, **given)
    generate = dag.get_task("shoes.generate")
    assert {name: getattr(generate, name) for name in OPTIONS} == OPTIONS


def test_every_option_reaches_its_tasks() -> None:
    outlet = Asset("mine")
    with DAG("d", schedule=None, default_args={"retries": 5, "owner": "us"}) as dag:
        kling_image(
            "shoes",
            subject_images=URLS,
            destination=DESTINATION,
            kling_conn_id="team",
            aws_conn_id="store",
            s3_extra_args={"StorageClass": "GLACIER_IR"},
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
        ("store", {"StorageClass": "GLACIER_IR"}, 5, [outlet])
    )


def test_it_offers_what_the_operators_do_with_the_same_defaults() -> None:
    ours = inspect.signature(kling_image).parameters
    of_one_task = {"self", "kwargs", "kling_task_id", "route", "task", "wait_for_completion"}
    kinds = (KlingMultiImageToImageOperator, KlingTaskSensor, ArchivingOperator, KlingArchiveImagesOperator)
    for kind in kinds:
        theirs = inspect.signature(inspect.unwrap(kind.__init__)).parameters
        assert theirs.keys() - of_one_task <= ours.keys()
        shared = theirs.keys() - of_one_task - {"deferrable", "destination"}
        assert {name: ours[name].default for name in shared} == {name: theirs[name].default for name in shared}
    assert ours["deferrable"].default is True


# --- default_args -----------------------------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "kling_conn_id": "team",
    "aws_conn_id": "store",
    "timeout": 77,
    "poke_interval": 7,
    "deferrable": False,
    "submit_timeout": 78,
    "on_unknown": "resubmit",
    "model_name": "kling-v2-1",
    "max_image_bytes": 79,
    "pool": "small",
    "retries": 4,
    "wait_for_completion": True,
}


def check_defaults(dag: Any) -> None:
    submit, wait, archive = (dag.get_task(f"shoes.{name}") for name in ("submit", "wait", "archive"))
    assert {(one.kling_conn_id, one.pool, one.retries) for one in (submit, wait, archive)} == {("team", "small", 4)}
    assert (submit.submit_timeout, submit.on_unknown, submit.deferrable) == (78, "resubmit", False)
    assert not submit.wait_for_completion, "the group is made of tasks that do one thing each"
    assert (wait.timeout, wait.poke_interval, wait.deferrable) == (77, 7, False)
    assert (archive.aws_conn_id, archive.max_image_bytes) == ("store", 79)


def test_what_is_not_passed_comes_from_the_default_args_of_the_dag() -> None:
    with DAG("d", schedule=None, default_args=DEFAULTS) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION)
    check_defaults(dag)
    assert dag.get_task("shoes.submit").model_name == "kling-v2-1"


def test_what_is_not_passed_comes_from_the_default_args_of_a_group_around() -> None:
    with (
        DAG("d", schedule=None, default_args={"kling_conn_id": "of the DAG"}) as dag,
        TaskGroup("all", prefix_group_id=False, default_args=DEFAULTS),
    ):
        kling_image("shoes", subject_images=URLS, destination=DESTINATION)
    check_defaults(dag)


def test_what_is_not_passed_comes_from_default_args_where_the_group_is_mapped() -> None:
    with DAG("d", schedule=None, default_args=DEFAULTS) as dag:
        kling_image.partial("shoes", destination=DESTINATION).expand_kwargs([{"subject_images": URLS}])
    check_defaults(dag)


def test_the_own_default_args_come_before_those_around_and_what_is_passed_before_all() -> None:
    with DAG("d", schedule=None, default_args=DEFAULTS) as dag:
        kling_image(
            "shoes",
            subject_images=URLS,
            destination=DESTINATION,
            timeout=1,
            aws_conn_id=None,
            model_name=None,
            default_args={"kling_conn_id": "mine", "timeout": 2},
        )
    submit, wait, archive = (dag.get_task(f"shoes.{name}") for name in ("submit", "wait", "archive"))
    assert {one.kling_conn_id for one in (submit, wait, archive)} == {"mine"}
    assert (wait.timeout, archive.aws_conn_id, submit.model_name) == (1, None, None)


def test_outlets_of_default_args_are_those_of_the_archive() -> None:
    with DAG("d", schedule=None, default_args={"outlets": [Asset("mine")]}) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION)
    assert dag.get_task("shoes.archive").outlets == [Asset("mine")]


def test_slots_are_taken_for_the_n_of_default_args() -> None:
    with DAG("d", schedule=None, default_args={"n": 4}) as dag:
        kling_image("shoes", subject_images=URLS, destination=DESTINATION, pool="kling")
    generate = dag.get_task("shoes.generate")
    assert (generate.n, generate.pool_slots) == (4, 4)


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


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a"], "A row is a str"),
        ("a", "expand_kwargs has 'a', it must be a list"),
        ({"subject_images": URLS}, "it must be a list"),
        ([{"subject_images": URLS, "destination": float("nan")}], "no destination"),
        ([{"subject_images": URLS, "destination": "nan"}], "destination is 'nan', it must be a URL"),
    ],
    ids=str,
)
def test_what_are_no_rows_is_refused_while_parsing(rows: Any, words: str) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_image.partial("shoes").expand_kwargs(rows)


def test_an_output_within_a_list_of_rows_is_refused_while_parsing() -> None:
    @task
    def write() -> str: ...

    with DAG("d", schedule=None), pytest.raises(KlingInputError, match="prompt of a row is the output of a task"):
        kling_image.partial("shoes").expand_kwargs(
            [{"subject_images": URLS, "destination": DESTINATION, "prompt": write()}]
        )


def test_rows_may_be_any_sequence() -> None:
    row = {"subject_images": deque(URLS), "destination": DESTINATION}
    for rows in ((row,), deque([row]), (row for _ in range(1))):
        with DAG("d", schedule=None) as dag:
            kling_image.partial("shoes").expand_kwargs(rows)
        assert dag.task_ids == ["shoes.submit", "shoes.wait", "shoes.archive"]


def test_the_package_offers_it_and_nothing_unknown() -> None:
    assert set(airflow_kling.__all__) == {"__version__", "kling_generate", "kling_image"}
    with pytest.raises(AttributeError, match="klong_image"):
        _ = airflow_kling.klong_image


# --- kling_generate --------------------------------------------------------------------------------------------------


def test_any_route_is_a_group_of_three_tasks() -> None:
    with DAG("d", schedule=None) as dag:
        clip = kling_generate(
            "clip", route="image-to-video", image=URLS[0], mode="pro", destination=DESTINATION, timeout=9
        )
    submit, wait, archive = (dag.get_task(f"clip.{name}") for name in ("submit", "wait", "archive"))
    assert (type(submit), submit.image, submit.mode) == (KlingImageToVideoOperator, URLS[0], "pro")
    assert (wait.route, wait.timeout, archive.route) == ("image-to-video", 9, "image-to-video")
    assert isinstance(clip, TaskGroup)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"route": "song"}, "route is 'song', must be one of image-expansion"),
        ({"route": "{{ params.route }}"}, "must be one of"),
        ({"route": None}, "route is None, it must be a text that is known while the DAG is parsed"),
        (
            {"imag": URLS[0]},
            "imag: neither a field of route 'image-to-video' nor an option of its tasks; the fields are",
        ),
        ({"image": URLS[0], "n": 2}, "n: neither a field of route 'image-to-video'"),
        ({"image": URLS[0], "duration": "17"}, "duration is '17'"),
    ],
)
def test_what_no_route_takes_is_refused_while_parsing(fields: dict[str, Any], words: str) -> None:
    given = {"route": "image-to-video", "destination": DESTINATION, **fields}
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_generate("clip", **given)
    if "route" in fields or "duration" in fields:
        return
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_generate.partial("clip", **given)


def test_a_mapped_group_needs_its_route() -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match="route is None"):
        kling_generate.partial("clip", destination=DESTINATION)
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match="A row has no image"):
        kling_generate.partial("clip", route="image-to-video", destination=DESTINATION).expand_kwargs([{"prompt": "a"}])


@pytest.mark.parametrize(
    ("fields", "slots"),
    [
        ({"route": "text-to-video"}, 1),
        ({"route": "virtual-try-on", "human_image": URLS[0], "cloth_image": URLS[1], "prompt": None}, 1),
        ({"route": "omni-image", "n": 3}, 3),
        ({"route": "omni-image", "n": 3, "result_type": "series", "series_amount": 5}, 5),
    ],
)
def test_a_pool_gives_as_many_slots_as_the_route_takes(fields: dict[str, Any], slots: int) -> None:
    given = {name: value for name, value in {"prompt": "a cat", **fields}.items() if value is not None}
    with DAG("d", schedule=None) as dag:
        kling_generate("one", destination=DESTINATION, pool="kling", **given)
    assert dag.get_task("one.generate").pool_slots == slots


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"result_type": "series", "series_amount": "auto"}, "series_amount is 'auto', with pool it must be a number"),
        ({"result_type": "series"}, "series_amount is None, with pool it must be a number"),
        ({"result_type": "{{ params.x }}"}, "result_type must be known with pool"),
    ],
)
def test_slots_that_are_not_known_are_refused(fields: dict[str, Any], words: str) -> None:
    with DAG("d", schedule=None), pytest.raises(KlingInputError, match=words):
        kling_generate("one", route="omni-image", prompt="a", destination=DESTINATION, pool="kling", **fields)


def test_only_the_operator_of_the_route_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from airflow.providers.common.compat.sdk import DAG; from airflow_kling import kling_generate\n"
        "with DAG('d', schedule=None): kling_generate('a', route='text-to-video', prompt='p', destination='s3://b/k')\n"
        "print([name for name in sys.modules if name.startswith('airflow_kling.api.routes.')])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["['airflow_kling.api.routes.text_to_video']"], done.stderr


def test_a_part_of_an_output_waits_for_its_task() -> None:
    with DAG("d", schedule=None) as dag:
        shoes = kling_image("shoes", subject_images=URLS, destination=DESTINATION)
        kling_generate(
            "clip",
            route="image-to-video",
            image=shoes.output["images"][1],
            prompt=f"of {shoes.output['images'][0]}",
            destination=DESTINATION,
        )
        kling_generate("whole", route="image-to-video", image=shoes.output, destination=DESTINATION)
    for name in ("clip", "whole"):
        assert dag.get_task(f"{name}.submit").upstream_task_ids == {"shoes.archive"}
    pulled = "{{ task_instance.xcom_pull(task_ids='shoes.archive', dag_id='d', key='return_value')['images'][0] }}"
    assert dag.get_task("clip.submit").prompt == f"of {pulled}"
    with pytest.raises(TypeError, match="not known before the task has run"):
        list(shoes.output["images"])


# --- as DAG runs ------------------------------------------------------------------------------------------------------

HEAD = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_kling import kling_generate, kling_image

NAN = float("nan")

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

NOWHERE = (
    HEAD
    + """
with DAG("kling_nowhere", schedule=None, params={"nothing": None, "blank": "", "odd": "archive"}) as dag:

    @task
    def empty():
        return ""

    options = {"subject_images": SUBJECTS, "prompt": "a cat", "poke_interval": 0.05}
    for name in ("nothing", "blank", "odd"):
        kling_image(name, destination="{{ params." + name + " }}", **options)
    kling_image("output", destination=empty(), **options)
    kling_image.partial("rows", **options).expand(destination=["{{ params.blank }}", DESTINATION])
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
            {"prompt": "nan", "subject_images": SUBJECTS, "aspect_ratio": "", "scene_image": None, "n": "#"},
            {"prompt": "too many", "subject_images": SUBJECTS, "n": 10},
            {"prompt": "on {{ ds }}", "subject_images": SUBJECTS},
            {"prompt": "#", "subject_images": SUBJECTS, "negative_prompt": "#"},
        ]

    def with_empty_cells(row):  # Airflow 3 refuses an XCom with a NaN in it
        return {name: NAN if cell == "#" else cell for name, cell in row.items()}

    images = kling_image.partial("product", destination=DESTINATION, poke_interval=0.05).expand_kwargs(
        rows().map(with_empty_cells)
    )
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

LITERAL = (
    HEAD
    + """
with DAG("kling_literal", schedule=None, render_template_as_native_obj=True) as dag:
    one = {"subject_images": SUBJECTS, "destination": DESTINATION}
    kling_image.partial("product", poke_interval=0.05).expand_kwargs([
        {**one, "prompt": "1e3", "n": "{{ 1 + 1 }}"},
        {**one, "prompt": "{{ dag.dag_id }}", "destination": DESTINATION + "_of/{{ dag.dag_id }}", "n": NAN},
    ])
    kling_image.partial("other", poke_interval=0.05, **one).expand(prompt=('"Just do it"', NAN))
"""
)

LAZY = (
    HEAD
    + """
with DAG("kling_lazy", schedule=None) as dag:

    @task
    def row(prompt):
        return {"prompt": prompt, "subject_images": SUBJECTS}

    @task
    def subject(path):
        return path

    options = {"destination": DESTINATION, "poke_interval": 0.05}
    kling_image.partial("rows", **options).expand_kwargs(row.expand(prompt=["a", "b"]))
    kling_image("subjects", subject_images=subject.expand(path=SUBJECTS), prompt="c", **options)
"""
)

CHAIN = (
    HEAD
    + """
with DAG("kling_chain", schedule=None, render_template_as_native_obj=NATIVE) as dag:
    options = {"destination": DESTINATION, "poke_interval": 0.05}
    shoes = kling_image("shoes", subject_images=SUBJECTS, n=2, aspect_ratio="1:1", **options)
    clip = {"route": "image-to-video", **options}
    kling_generate("first", image=shoes.output, prompt="1", **clip)
    kling_generate("second", image=shoes.output["images"][1], prompt="2", **clip)
    kling_generate("images", image=shoes.output["images"], prompt="3", **clip)
    kling_generate("text", image="{{ ti.xcom_pull(task_ids='shoes.archive') }}", prompt="4", **clip)
    kling_generate(
        "omni", route="omni-image", image_list=[shoes.output["images"][1], shoes.output], prompt="5", **options
    )
    kling_generate("whole", image=shoes.output, prompt="7", compact=True, **clip)
    kling_generate("third", image=shoes.output["images"][2], prompt="6", **clip)
    dag.get_task("shoes.archive") >> dag.get_task("text.submit")
"""
)

BESIDE = (
    HEAD
    + """
with DAG("kling_beside", schedule=None) as dag:
    options = {"subject_images": SUBJECTS, "prompt": "a cat", "destination": DESTINATION, "poke_interval": 0.05}
    three = kling_image("three", **options)
    one = kling_image("one", compact=True, **options)
    rows = kling_image.partial("rows", compact=True, destination=DESTINATION, poke_interval=0.05)
    rows = rows.expand_kwargs([{"subject_images": SUBJECTS, "prompt": "a dog"}, {"subject_images": SUBJECTS, "n": 10}])

    @task(trigger_rule="all_done")
    def same_shape(three, one, rows):
        rows = rows if isinstance(rows, dict) else list(rows)[0]
        assert shape(three) == shape(one) == shape(rows), (three, one, rows)

    def shape(value):
        if isinstance(value, dict):
            return {key: shape(part) for key, part in value.items()}
        return [shape(part) for part in value] if isinstance(value, list) else type(value)

    same_shape(three.output, one.output, rows.output)
"""
)

in_dag_runs = pytest.mark.usefixtures("quick", "airflow_home")


@in_dag_runs
def test_one_generation_and_a_task_that_uses_it(fast: Emulator, run: Any, archive: Path) -> None:
    assert set(states(run("kling_one", ONE)).values()) == {"success"}
    [manifest] = manifests(archive)
    assert manifest["request"]["prompt"] == "kling_one"


@in_dag_runs
def test_a_destination_that_becomes_nothing_is_refused_before_paying(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_nowhere", NOWHERE))
    for name in ("nothing", "blank", "odd", "output"):
        assert [found[f"{name}.{task}[-1]"] for task in ("submit", "wait", "archive")] == [
            "failed",
            *["upstream_failed"] * 2,
        ]
    assert [found[f"rows.archive[{i}]"] for i in range(2)] == ["upstream_failed", "success"]
    assert found["rows.submit[0]"] == "failed"
    assert fast.ledger()["requests"]["create"] == 1
    assert len(manifests(archive)) == 1


@in_dag_runs
def test_rows_fail_alone_and_before_anything_is_submitted(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_rows", ROWS))
    wrong = {1: "a typo", 3: "too many", 4: "a template"}
    for name in ("submit", "wait", "archive"):
        failed = "failed" if name == "submit" else "upstream_failed"
        expected = [failed if i in wrong else "success" for i in range(6)]
        assert [found[f"product.{name}[{i}]"] for i in range(6)] == expected
    requests = {manifest["request"].get("prompt"): manifest["request"] for manifest in manifests(archive)}
    assert set(requests) == {"a cat", "nan", None}, "a text is what its author wrote, NaN is none"
    assert requests["a cat"]["n"] == 2
    assert requests["nan"]["n"] == 1
    assert requests["nan"]["aspect_ratio"] == "16:9"
    assert fast.ledger()["requests"]["create"] == 3


@in_dag_runs
def test_rows_in_the_dag_file_are_rendered_as_texts(fast: Emulator, run: Any, archive: Path) -> None:
    assert set(states(run("kling_literal", LITERAL)).values()) == {"success"}
    elsewhere = archive.parent / "archive_of" / "kling_literal"
    requests = [manifest["request"] for folder in (archive, elsewhere) for manifest in manifests(folder)]
    assert {request.get("prompt") for request in requests} == {"1e3", "kling_literal", '"Just do it"', None}
    assert {request["n"] for request in requests} == {1, 2}
    assert [manifest["request"]["prompt"] for manifest in manifests(elsewhere)] == ["kling_literal"]


@in_dag_runs
def test_rows_and_subjects_may_come_from_mapped_tasks(fast: Emulator, run: Any, archive: Path) -> None:
    assert set(states(run("kling_lazy", LAZY)).values()) == {"success"}
    assert sorted(manifest["request"]["prompt"] for manifest in manifests(archive)) == ["a", "b", "c"]


@in_dag_runs
def test_mapped_over_a_list_with_a_pool(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_prompts", PROMPTS))
    assert found == {
        **{f"product.generate[{i}]": "success" for i in range(2)},
        "count[-1]": "success",
    }
    assert sorted(manifest["request"]["prompt"] for manifest in manifests(archive)) == ["a cat", "a dog"]
    assert {len(manifest["images"]) for manifest in manifests(archive)} == {2}


@in_dag_runs
def test_compact_leaves_the_same_as_three_tasks(fast: Emulator, run: Any, archive: Path) -> None:
    found = states(run("kling_beside", BESIDE))
    assert found == {
        **{f"three.{name}[-1]": "success" for name in ("submit", "wait", "archive")},
        "one.generate[-1]": "success",
        "rows.generate[0]": "success",
        "rows.generate[1]": "failed",
        "same_shape[-1]": "success",
    }
    made = {manifest["run"]["task_id"]: manifest for manifest in manifests(archive)}
    assert shape(made["three.archive"]) == shape(made["one.generate"]) == shape(made["rows.generate"])
    assert fast.ledger()["requests"]["create"] == 3


def shape(value: Any) -> Any:
    """Return keys and types of a document, without its values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


@in_dag_runs
@pytest.mark.parametrize("native", [False, True], ids=["plain", "native"])
def test_archived_images_are_references_of_other_generations(
    native: bool, connect: Any, run: Any, archive: Path
) -> None:
    with serve(EmulatorConfig(duration=Duration(0.05), image_size=320)) as emulator:
        connect(emulator)
        found = states(run("kling_chain", CHAIN.replace("NATIVE", str(native))))
    assert {name for name, state in found.items() if state != "success"} == {
        f"third.{name}[-1]" for name in ("submit", "wait", "archive")
    }
    requests = {manifest["request"].get("prompt"): manifest for manifest in manifests(archive)}
    first, second = (image["sha256"] for image in requests.pop(None)["images"])
    used = {prompt: [one["sha256"] for one in made["request"]["references"]] for prompt, made in requests.items()}
    assert used == {"1": [first], "2": [second], "3": [first], "4": [first], "5": [second, first], "7": [first]}
