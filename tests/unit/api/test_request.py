"""An operator's fields become a request: cheap limits first, images last; a template's text becomes a list."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, BinaryIO

import pytest
from PIL import Image

from airflow_kling.api import request
from airflow_kling.api.routes import find_route
from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.exceptions import KlingInputError
from airflow_kling.reporting import xcom

URL = "https://example.com/a.png"
FIELDS = dict.fromkeys(ROUTE.fields) | {"subject_images": [URL, URL], "n": 1, "aspect_ratio": "16:9"}


def fields(**changes: Any) -> dict[str, Any]:
    return {**FIELDS, **changes}


def no_storage(url: str) -> BinaryIO:
    raise AssertionError(f"opened {url}")


def build(**changes: Any) -> tuple[Any, list[dict[str, Any]]]:
    return request.build_request(ROUTE, fields(**changes), open_file=no_storage)


def picture(width: int = 320) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, 320), "teal").save(out, "PNG")
    return out.getvalue()


def test_request_of_urls_is_sent_as_given() -> None:
    built, references = build(scene_image=f"{URL}?token=s", style_image=URL, prompt="p", n="2")
    assert (built.subject_images, built.scene_image, built.style_image) == ([URL, URL], f"{URL}?token=s", URL)
    assert (built.prompt, built.n) == ("p", 2)
    assert [reference["name"] for reference in references] == [
        "subject_images[0]",
        "subject_images[1]",
        "scene_image",
        "style_image",
    ]
    assert references[2] == {"name": "scene_image", "source": "url", "uri": URL}


def test_images_are_sent_as_raw_base64() -> None:
    data = picture()
    built, references = build(subject_images=[data, f"data:image/png;base64,{base64.b64encode(data).decode()}"])
    assert [base64.b64decode(image, validate=True) for image in built.subject_images] == [data, data]
    assert [reference["source"] for reference in references] == ["bytes", "base64"]
    assert base64.b64encode(data).decode() not in json.dumps(references)


@pytest.mark.parametrize("blank", [None, "", "  \n"])
def test_blank_single_image_is_not_given(blank: str | None) -> None:
    built, references = build(scene_image=blank, style_image=blank)
    assert built.scene_image is built.style_image is None
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

    _, references = request.build_request(
        ROUTE, fields(subject_images=["s3://b/a.png", "gs://b/b.png"]), open_file=storage
    )
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
    assert request.as_list(ROUTE, "subject_images", value) == images


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
        request.as_list(ROUTE, "subject_images", value)
    assert str(caught.value) == f"subject_images is {kind}, it must be a list of 1 to 4 images; nothing was submitted."


OMNI = find_route("omni-video")
FRAME = {"image_url": URL, "type": "first_frame"}


@pytest.mark.parametrize(
    ("value", "references"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("[]", []),
        ([URL], [URL]),
        ([FRAME, URL], [URL, URL]),
        (f"[{{'image_url': '{URL}', 'type': 'first_frame'}}]", [URL]),
        ([{"uri": "s3://b/0.png"}], [{"uri": "s3://b/0.png"}]),  # a result of an archive: no object of the API
    ],
    ids=str,
)
def test_media_value_of_a_list_of_objects(value: Any, references: list[Any]) -> None:
    assert request.media_value(OMNI, "image_list", value) == references


def test_an_object_of_a_list_keeps_what_else_it_says() -> None:
    items = [{**FRAME, "image_url": picture()}, picture(400)]
    fields = {"prompt": "p", "image_list": items}
    built, references = request.build_request(OMNI, fields, open_file=no_storage)
    first, second = built.image_list
    assert first["type"] == "first_frame"
    assert base64.b64decode(first["image_url"], validate=True) == picture()
    assert base64.b64decode(second["image_url"], validate=True) == picture(400)
    assert set(second) == {"image_url"}
    assert [(one["name"], one.get("type")) for one in references] == [
        ("image_list[0]", "first_frame"),
        ("image_list[1]", None),
    ]


def test_subjects_may_be_objects_too() -> None:
    built, references = build(subject_images=[{"subject_image": URL}, URL])
    assert built.subject_images == [URL, URL]
    assert [reference["name"] for reference in references] == ["subject_images[0]", "subject_images[1]"]


def test_no_image_is_read_for_a_rule_that_is_broken_anyway() -> None:
    for fields in (
        {"image_list": [{"image_url": "s3://b/a.png", "type": "end_frame"}]},
        {"image_list": ["s3://b/a.png"] * 8},
        {"image_list": ["s3://b/a.png"], "mode": "4k", "model_name": "kling-video-o1"},
    ):
        with pytest.raises(KlingInputError, match="nothing was submitted"):
            request.build_request(OMNI, {"prompt": "p", "aspect_ratio": "1:1", **fields}, open_file=no_storage)


def test_a_list_that_may_be_left_out_is_named_with_its_limits() -> None:
    with pytest.raises(KlingInputError) as caught:
        request.media_value(OMNI, "video_list", URL)
    assert str(caught.value) == (
        "video_list is a single text, it must be a list of 1 to 1 videos; nothing was submitted."
    )


def test_description_holds_what_was_asked_and_no_payload() -> None:
    data = picture()
    built, references = build(
        subject_images=[data, f"{URL}?token=s"],
        prompt="two friends",
        external_task_id="mine",
        callback_url="https://example.com/hook?secret=s",
    )
    asked = xcom.describe_request(ROUTE, built, references, gateway_name="cometapi-v2")
    assert asked["prompt"] == "two friends"
    assert asked["external_task_id"] == "mine"
    assert asked["gateway"] == "cometapi-v2"
    assert asked["references"][1] == {"name": "subject_images[1]", "source": "url", "uri": URL}
    text = json.dumps(asked)
    assert base64.b64encode(data).decode()[:40] not in text
    assert "token=" not in text
    assert "secret=" not in text


def test_the_request_record_has_a_key_for_each_generation() -> None:
    assert xcom.request_key("8334") != xcom.request_key("8335")
