"""From an operator's fields to a request: literals are checked at once, templates wait, images are read last."""

from __future__ import annotations

import base64
import io
import json
import pathlib
from typing import Any, BinaryIO

import pytest
from PIL import Image

from airflow_kling.api.tasks import MultiImageToImageRequest
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates

URL = "https://example.com/a.png"
FIELDS = dict.fromkeys(templates.FIELDS) | {"subject_images": [URL, URL], "n": 1, "aspect_ratio": "16:9"}


def fields(**changes: Any) -> dict[str, Any]:
    return {**FIELDS, **changes}


def no_storage(url: str) -> BinaryIO:
    raise AssertionError(f"opened {url}")


def build(**changes: Any) -> tuple[MultiImageToImageRequest, list[dict[str, Any]]]:
    return templates.build_request(fields(**changes), open_file=no_storage)


def picture(width: int = 320) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, 320), "teal").save(out, "PNG")
    return out.getvalue()


class Unresolved:
    """Stands for an XComArg or a DAG parameter."""


LITERAL: list[tuple[Any, bool]] = [
    ("text", True),
    ("{{ params.a }}", False),
    ("a {% if x %}b{% endif %}", False),
    ("{# a comment #}", False),
    ("{ not a template }", True),
    (b"{{", True),
    (1, True),
    (None, True),
    (pathlib.Path("a.png"), True),
    (["a", b"b"], True),
    (["a", "{{ b }}"], False),
    (("a", Unresolved()), False),
    ({"enabled": True}, True),
    ({"enabled": "{{ a }}"}, False),
    (Unresolved(), False),
]


@pytest.mark.parametrize(("value", "literal"), LITERAL, ids=[str(value) for value, _ in LITERAL])
def test_is_literal(value: Any, literal: bool) -> None:
    assert templates.is_literal(value) is literal


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"subject_images": []}, "subject_images has 0 entries"),
    ({"subject_images": [URL] * 5}, "subject_images has 5 entries"),
    ({"subject_images": ["{{ a }}"] * 5}, "subject_images has 5 entries"),
    ({"subject_images": [URL, "ftp://example.com/a.png"]}, "subject_images[1] has the unsupported scheme ftp://"),
    ({"subject_images": [URL, None]}, "subject_images[1] is a NoneType"),
    ({"subject_images": [Unresolved(), ""]}, "subject_images[1] is empty"),
    ({"scene_image": "ftp://example.com/a.png"}, "scene_image has the unsupported scheme"),
    ({"style_image": ["a"]}, "style_image is a list"),
    ({"prompt": "x" * 2501}, "prompt has 2501 characters"),
    ({"negative_prompt": "x" * 2501}, "negative_prompt has 2501 characters"),
    ({"n": 10}, "n is 10"),
    ({"n": 0}, "n is 0"),
    ({"aspect_ratio": "5:4"}, "aspect_ratio is '5:4'"),
    ({"callback_url": "ftp://example.com"}, "callback_url"),
    ({"watermark_info": {"on": True}}, "watermark_info"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_literals_are_refused_at_parse_time(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        templates.check_literals(fields(**wrong))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"subject_images": "{{ params.images }}"},
        {"subject_images": Unresolved()},
        {"subject_images": ["{{ a }}", Unresolved()]},
        {"subject_images": ["no/such/file.png"]},
        {"scene_image": "{{ params.scene }}"},
        {"scene_image": ""},
        {"style_image": Unresolved()},
        {"n": "{{ params.n }}"},
        {"n": Unresolved()},
        {"prompt": "{{ x }}" * 1000},
        {"aspect_ratio": "{{ params.ratio }}"},
        {"watermark_info": {"enabled": "{{ x }}"}},
    ],
    ids=str,
)
def test_what_is_templated_waits_for_the_run(right: dict[str, Any]) -> None:
    templates.check_literals(fields(**right))


def test_request_of_urls_is_sent_as_given() -> None:
    request, references = build(scene_image=f"{URL}?token=s", style_image=URL, prompt="p", n="2")
    assert (request.subject_images, request.scene_image, request.style_image) == ([URL, URL], f"{URL}?token=s", URL)
    assert (request.prompt, request.n) == ("p", 2)
    assert [reference["name"] for reference in references] == [
        "subject_images[0]",
        "subject_images[1]",
        "scene_image",
        "style_image",
    ]
    assert references[2] == {"name": "scene_image", "source": "url", "uri": URL}


def test_images_are_sent_as_raw_base64() -> None:
    data = picture()
    request, references = build(subject_images=[data, f"data:image/png;base64,{base64.b64encode(data).decode()}"])
    assert [base64.b64decode(image, validate=True) for image in request.subject_images] == [data, data]
    assert [reference["source"] for reference in references] == ["bytes", "base64"]
    assert base64.b64encode(data).decode() not in json.dumps(references)


@pytest.mark.parametrize("blank", [None, "", "  \n"])
def test_blank_single_image_is_not_given(blank: str | None) -> None:
    request, references = build(scene_image=blank, style_image=blank)
    assert request.scene_image is request.style_image is None
    assert len(references) == 2


@pytest.mark.parametrize("wrong", [{"n": 10}, {"prompt": "x" * 2501}, {"aspect_ratio": "None"}], ids=str)
def test_no_image_is_read_for_a_request_that_is_refused_anyway(wrong: dict[str, Any]) -> None:
    with pytest.raises(KlingInputError, match="nothing was submitted"):
        build(subject_images=["s3://bucket/a.png"], **wrong)


def test_object_storage_is_opened_by_the_function_given() -> None:
    opened: list[str] = []

    def storage(url: str) -> BinaryIO:
        opened.append(url)
        return io.BytesIO(picture())

    _, references = templates.build_request(fields(subject_images=["s3://b/a.png", "gs://b/b.png"]), open_file=storage)
    assert opened == ["s3://b/a.png", "gs://b/b.png"]
    assert [reference["uri"] for reference in references] == opened


@pytest.mark.parametrize(
    ("value", "images"),
    [
        (["a", "b"], ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("('a', 'b')", ["a", "b"]),
        (" ['a']", ["a"]),
        ("[b'\\x89PNG']", [b"\x89PNG"]),
    ],
)
def test_as_list(value: Any, images: list[Any]) -> None:
    assert templates.as_list(value) == images


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (URL, "a single text"),
        ("", "a single text"),
        ("[a, b]", "a single text"),
        ("{'a': 1}", "a dict"),
        ("7", "a single text"),
        (7, "a int"),
        (None, "a NoneType"),
        (b"\x89PNG", "a bytes"),
        ({"a"}, "a set"),
    ],
    ids=str,
)
def test_what_is_no_list(value: Any, kind: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        templates.as_list(value)
    assert str(caught.value) == f"subject_images is {kind}, it must be a list of 1 to 4 images; nothing was submitted."


def test_description_holds_what_was_asked_and_no_payload() -> None:
    data = picture()
    request, references = build(
        subject_images=[data, f"{URL}?token=s"],
        prompt="two friends",
        external_task_id="mine",
        callback_url="https://example.com/hook?secret=s",
    )
    asked = templates.describe(request, references, gateway="cometapi-v2")
    assert asked["prompt"] == "two friends"
    assert asked["external_task_id"] == "mine"
    assert asked["gateway"] == "cometapi-v2"
    assert asked["references"][1] == {"name": "subject_images[1]", "source": "url", "uri": URL}
    text = json.dumps(asked)
    assert base64.b64encode(data).decode()[:40] not in text
    assert "token=" not in text
    assert "secret=" not in text


def test_xcom_key_is_one_per_generation() -> None:
    assert templates.xcom_key("8334") != templates.xcom_key("8335")
