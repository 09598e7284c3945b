"""What a field holds when the task runs: texts as they were written, nothing for NaN, and no template left over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, literal

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.generate import KlingMultiImageToImageOperator

URL = "https://example.com/a.png"
NAN = float("nan")
NATIVE = pytest.mark.parametrize("native", [False, True], ids=["text", "native"])


def rendered(native: bool, params: dict[str, Any] | None = None, **fields: Any) -> KlingMultiImageToImageOperator:
    with DAG("gate", schedule=None, render_template_as_native_obj=native):
        task = KlingMultiImageToImageOperator(task_id="submit", **{"subject_images": [URL, URL], **fields})
    context: Any = {"params": params or {}, "task": task, "ds": "2027-01-01"}
    task.render_template_fields(context)
    return task


@pytest.fixture
def send(emulator: Emulator, connect: Callable[..., str], ti: Any) -> Callable[..., dict[str, Any]]:
    """Run the task; return what was submitted."""
    connect(emulator, gateway="cometapi-v2")

    def send(task: KlingMultiImageToImageOperator) -> dict[str, Any]:
        task.execute({"ti": ti})
        [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
        request: dict[str, Any] = entry["request"]
        return request

    return send


TEXTS = ["1e3", '"Just do it"', "None", "[a]", "True", "007", "(1, 2)", " a\r\nb\n", "nan", "{'a': 1}", "100%", "{a}"]


@NATIVE
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_what_its_author_wrote(text: str, native: bool, send: Any) -> None:
    request = send(rendered(native, prompt=text, negative_prompt="{{ params.text }}", params={"text": text}))
    assert (request["prompt"], request["negative_prompt"]) == (text, text)


@NATIVE
def test_what_else_a_template_renders_to(native: bool, send: Any) -> None:
    params = {"n": 3, "images": [URL, URL, URL], "none": None, "nan": NAN, "number": 7, "ratio": "1:1"}
    request = send(
        rendered(
            native,
            params=params,
            subject_images="{{ params.images }}",
            n="{{ params.n }}",
            prompt="{{ params.number }}",
            negative_prompt="{{ params.nan }}",
            scene_image="{{ params.none }}",
            style_image=" {{ params.nan }} ",
            aspect_ratio="{{ params.ratio }}",
            external_task_id="{{ params.none }}",
        )
    )
    assert (request["n"], request["prompt"], request["aspect_ratio"]) == (3, "7", "1:1")
    assert len(request["subject_image_list"]) == 3
    assert not {"negative_prompt", "scene_image", "style_image"} & set(request)
    assert request["external_task_id"] not in ("None", "")


@pytest.mark.parametrize("nothing", [None, NAN, "", "  "], ids=str)
def test_what_is_not_given_has_its_default(nothing: Any, send: Any) -> None:
    optional = ("prompt", "model_name", "scene_image", "n", "aspect_ratio", "negative_prompt", "watermark_info")
    request = send(rendered(False, **dict.fromkeys(optional, nothing)))
    assert (request["n"], request["aspect_ratio"], request["model_name"]) == (1, "16:9", "kling-v2")
    assert not {"prompt", "negative_prompt", "scene_image", "watermark_info"} & set(request)


def test_any_sequence_is_a_list_of_images(send: Any) -> None:
    assert len(send(rendered(False, subject_images=deque([URL, URL])))["subject_image_list"]) == 2


@NATIVE
@pytest.mark.parametrize("text", ["{% raw %}{{masterpiece}}{% endraw %}", "{{masterpiece}}"])
def test_braces_that_the_author_means_are_sent(text: str, native: bool, send: Any) -> None:
    prompt = text if "raw" in text else literal(text)
    assert send(rendered(native, prompt=prompt))["prompt"] == "{{masterpiece}}"


@NATIVE
@pytest.mark.parametrize("written", ["{{ params.mark }}", {"enabled": "{{ params.mark.enabled }}"}], ids=str)
def test_a_dict_may_be_a_template(written: Any, native: bool, send: Any) -> None:
    task = rendered(native, params={"mark": {"enabled": True}}, watermark_info=written)
    assert send(task)["watermark_info"] == {"enabled": True}


class Words:
    def __str__(self) -> str:
        return "on a beach"


def test_an_object_in_a_template_is_its_text(send: Any) -> None:
    assert send(rendered(True, params={"place": Words()}, prompt="{{ params.place }}"))["prompt"] == "on a beach"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "{{ params.left }}"}, "prompt still has '{{ ds }}' in it"),
    ({"prompt": "{{ params.block }}"}, "prompt still has '{% if x %}a' in it"),
    ({"model_name": "{{ params.left }}"}, "model_name still has '{{ ds }}' in it"),
    ({"subject_images": [URL, "{{ params.left }}"]}, "subject_images still has '{{ ds }}' in it"),
    ({"scene_image": "{{ params.left }}"}, "scene_image still has '{{ ds }}' in it"),
    ({"kling_conn_id": "{{ params.left }}"}, "kling_conn_id still has '{{ ds }}' in it"),
    ({"kling_conn_id": "{{ params.none }}"}, "kling_conn_id is None, it must be the id of a connection"),
    ({"kling_conn_id": ""}, "kling_conn_id is '', it must be the id of a connection"),
    ({"prompt": "a {{ params.nan }} shoe"}, "prompt has the value nan in its template 'a {{ params.nan }} shoe'"),
    ({"prompt": "a {{ params.none }} shoe"}, "prompt has the value None in its template"),
    ({"prompt": "{{ params.bytes }}"}, "prompt has the value b'ab' in its template"),
    ({"scene_image": "file:///{{ params.none }}/a.png"}, "scene_image has the value None in its template"),
    ({"subject_images": [URL, "https://x.test/{{ params.none }}.png"]}, "subject_images has the value None in its"),
    ({"subject_images": "{{ params.none }}"}, "subject_images is a NoneType, it must be a list"),
    ({"subject_images": "{{ params.nan }}"}, "it must be a list"),
    ({"subject_images": [URL, "{{ params.blank }}"]}, "subject_images[1] is empty"),
    ({"prompt": "{{ params.object }}"}, "a Python object; give the text that it stands for"),
    ({"prompt": "{{ params.surrogate }}"}, "prompt is '\\ud83d': no valid unicode"),
    ({"prompt": "{{ params.control }}"}, "prompt is 'a\\x00b': has the control character '\\x00' in it"),
]
PARAMS: dict[str, Any] = {
    "left": "{{ ds }}",
    "block": "{% if x %}a",
    "none": None,
    "nan": NAN,
    "bytes": b"ab",
    "blank": "",
    "object": object(),
    "surrogate": "\ud83d",
    "control": "a\x00b",
}


@NATIVE
@pytest.mark.parametrize(("fields", "words"), REFUSED, ids=[words[:40] for _, words in REFUSED])
def test_a_mistake_is_refused_before_it_is_paid_for(
    fields: dict[str, Any], words: str, native: bool, kling: Emulator, ti: Any
) -> None:
    with pytest.raises(KlingInputError) as caught:
        rendered(native, params=PARAMS, **fields).execute({"ti": ti})
    assert isinstance(caught.value, AirflowFailException)
    message = str(caught.value)
    assert words in message or (native and "must be a list" in message and "must be a list" in words)
    assert "nothing was submitted" in message or "subject_images[" in message
    assert kling.ledger()["requests"]["create"] == 0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompt": True}, "prompt is True: give a text"),
    ({"prompt": b"a shoe"}, "prompt is b'a shoe': give a text"),
    ({"prompt": float("inf")}, "prompt is inf"),
    ({"n": True}, "n is True: give a number"),
    ({"n": 2.5}, "n is a float (2.5)"),
    ({"subject_images": (URL for _ in range(2))}, "subject_images is a generator, it must be a list"),
    ({"subject_images": {URL}}, "subject_images is a set, it must be a list"),
    ({"subject_images": [URL, NAN]}, "subject_images[1] is a float"),
    ({"subject_images": NAN}, "subject_images is nan, it must be a list"),
    ({"prompt": f"a {object()}"}, "a Python object"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_a_literal_mistake_is_refused_while_parsing(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        KlingMultiImageToImageOperator(task_id="submit", **{"subject_images": [URL, URL], **fields})
    assert words in str(caught.value)


@pytest.mark.parametrize("n", [2, 2.0, "2", " 2 "])
def test_n_as_spreadsheets_have_it(n: Any, send: Any) -> None:
    assert send(rendered(False, n=n))["n"] == 2


def test_an_unresolved_parameter_is_refused(kling: Emulator, ti: Any) -> None:
    with DAG("gate", schedule=None, params={"prompt": "a"}) as dag:
        unresolved: Any = dag.param("prompt")
        task = KlingMultiImageToImageOperator(task_id="submit", subject_images=[URL, URL], prompt=unresolved)
    with pytest.raises(KlingInputError, match="prompt is a DagParam"):
        task.execute({"ti": ti})
    assert kling.ledger()["requests"]["create"] == 0


def test_the_authors_own_way_to_text_is_kept(send: Any) -> None:
    with DAG("gate", schedule=None, jinja_environment_kwargs={"finalize": lambda value: value or "nobody"}):
        task = KlingMultiImageToImageOperator(
            task_id="submit", subject_images=[URL, URL], prompt="for {{ params.none }}"
        )
    context: Any = {"params": PARAMS, "task": task}
    task.render_template_fields(context)
    assert send(task)["prompt"] == "for nobody"
