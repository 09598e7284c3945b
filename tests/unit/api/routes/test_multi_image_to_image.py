"""The documented limits of a request, each at and beyond its edge; the errors say field, limit and value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.exceptions import KlingInputError

PNG = "https://example.com/a.png"


def parse(**fields: Any) -> MultiImageToImageRequest:
    return MultiImageToImageRequest.parse({"subject_images": [PNG, PNG], **fields})


def test_defaults() -> None:
    request = parse()
    assert (request.n, request.aspect_ratio) == (1, "16:9")
    assert request.model_dump(exclude={"subject_images", "n", "aspect_ratio"}) == dict.fromkeys(
        [
            "prompt",
            "model_name",
            "scene_image",
            "style_image",
            "negative_prompt",
            "watermark_info",
            "callback_url",
            "external_task_id",
        ]
    )


RATIOS = ["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]
ACCEPTED: list[tuple[dict[str, Any], Any]] = [
    ({"subject_images": [PNG]}, [PNG]),
    ({"subject_images": [PNG] * 4}, [PNG] * 4),
    ({"prompt": "x" * 2500}, "x" * 2500),
    ({"prompt": "🎨" * 2500}, "🎨" * 2500),
    ({"prompt": " \n "}, None),
    ({"prompt": ""}, None),
    ({"prompt": 2026}, "2026"),
    ({"negative_prompt": "x" * 2500}, "x" * 2500),
    ({"negative_prompt": ""}, None),
    ({"n": 1}, 1),
    ({"n": 9}, 9),
    ({"n": "3"}, 3),
    *(({"aspect_ratio": ratio}, ratio) for ratio in RATIOS),
    ({"watermark_info": {"enabled": True}}, {"enabled": True}),
    ({"watermark_info": {"enabled": False}}, {"enabled": False}),
    ({"callback_url": "https://example.com/hook"}, "https://example.com/hook"),
    ({"callback_url": "http://10.0.0.1:80/hook"}, "http://10.0.0.1:80/hook"),
    ({"callback_url": " "}, None),
    ({"external_task_id": "job/7 ä"}, "job/7 ä"),
    ({"external_task_id": 7}, "7"),
    ({"external_task_id": ""}, None),
    ({"model_name": ""}, None),
    ({"n": None}, 1),
    ({"n": float("nan")}, 1),
    ({"aspect_ratio": ""}, "16:9"),
    ({"scene_image": ""}, None),
    ({"style_image": "  "}, None),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED, ids=[str(f)[:60] for f, _ in ACCEPTED])
def test_accepted(field: dict[str, Any], value: Any) -> None:
    assert getattr(parse(**field), next(iter(field))) == value


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"subject_images": []}, "subject_images has 0 entries, at least 1 is needed"),
    ({"subject_images": [PNG] * 5}, "subject_images has 5 entries, at most 4 are allowed"),
    ({"subject_images": [PNG, ""]}, "subject_images.1 is empty"),
    ({"subject_images": [PNG, None]}, "subject_images.1 is a NoneType"),
    ({"subject_images": PNG}, "subject_images is a str"),
    ({"prompt": "x" * 2501}, "prompt has 2501 characters, at most 2500 are allowed"),
    ({"prompt": ["a"]}, "prompt is a list"),
    ({"prompt": "\ud800"}, "prompt is '\\ud800': no valid unicode"),
    ({"negative_prompt": "x" * 2501}, "negative_prompt has 2501 characters, at most 2500 are allowed"),
    ({"n": 0}, "n is 0, the least is 1"),
    ({"n": -1}, "n is -1, the least is 1"),
    ({"n": 10}, "n is 10, the greatest is 9"),
    ({"n": "10"}, "n is '10', the greatest is 9"),
    ({"n": 2.5}, "n is a float"),
    ({"n": "two"}, "n is a str"),
    ({"aspect_ratio": "5:4"}, "aspect_ratio is '5:4', must be one of '16:9'"),
    ({"aspect_ratio": "16x9"}, "aspect_ratio is '16x9', must be one of"),
    ({"watermark_info": {"on": True}}, "watermark_info"),
    ({"watermark_info": {"enabled": "perhaps"}}, "watermark_info.enabled"),
    ({"watermark_info": True}, "watermark_info is a bool"),
    ({"callback_url": "ftp://example.com"}, "is not an http(s) URL"),
    ({"callback_url": "example.com/hook"}, "is not an http(s) URL"),
    ({"surprise": 1}, "surprise is not a field of the API"),
]


@pytest.mark.parametrize(("field", "words"), REFUSED, ids=[str(f)[:60] for f, _ in REFUSED])
def test_refused_in_one_sentence(field: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        parse(**field)
    text = str(caught.value)
    assert words in text
    assert text.endswith("; nothing was submitted.")
    assert "\n" not in text
    assert len(text) < 300
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(KlingInputError) as caught:
        parse(n=10, aspect_ratio="5:4", prompt="x" * 2501)
    assert all(name in str(caught.value) for name in ("n is 10", "aspect_ratio", "prompt has 2501"))


def test_subjects_are_required() -> None:
    with pytest.raises(KlingInputError, match="subject_images is required"):
        MultiImageToImageRequest.parse({"prompt": "x"})


def test_check_of_literals_looks_only_at_what_is_given() -> None:
    MultiImageToImageRequest.check_literals({"n": 9})
    MultiImageToImageRequest.check_literals({})
    with pytest.raises(KlingInputError, match="n is 10"):
        MultiImageToImageRequest.check_literals({"n": 10})


def test_images_are_not_shown_by_repr() -> None:
    shown = repr(parse(subject_images=["aGVsbG8="], scene_image="c2NlbmU=", style_image="c3R5bGU="))
    assert not any(payload in shown for payload in ("aGVsbG8=", "c2NlbmU=", "c3R5bGU="))


def test_request_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().n = 2


@given(st.integers())
def test_n_is_1_to_9(n: int) -> None:
    if 1 <= n <= 9:
        assert parse(n=n).n == n
    else:
        with pytest.raises(KlingInputError):
            parse(n=n)


@given(st.integers(min_value=0, max_value=5000))
def test_prompt_is_2500_characters_at_most(length: int) -> None:
    if length <= 2500:
        assert len(parse(prompt="x" * length).prompt or "") == length
    else:
        with pytest.raises(KlingInputError, match=f"{length} characters"):
            parse(prompt="x" * length)
