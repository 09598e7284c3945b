"""Image expansion: the body of Kling's page, the ratios and the area."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.routes.image_expansion import ROUTE
from tests.unit.api.routes.asking import ALL, A, Asking, urls

SIDES = ("up_expansion_ratio", "down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio")


def sides(*ratios: Any) -> dict[str, Any]:
    return dict(zip(SIDES, ratios, strict=True))


ask = Asking(ROUTE, {"image": A, **sides(0, 0, 0, 0)})


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("images/editing/expand")[gateway]


@pytest.mark.parametrize("gateway", ALL)
def test_the_request_of_the_page(gateway: str) -> None:
    page = {**sides(0.1495, 0.1495, 0.6547, 0.6547), "image": A, "n": 2}
    assert ask.body(gateway, **page, prompt="") == page


@pytest.mark.parametrize("gateway", ALL)
def test_every_field_has_the_wires_name(gateway: str) -> None:
    body = {
        **sides(0.1, 0.2, 0.3, 0.4),
        "image": A,
        "prompt": "a beach",
        "n": 9,
        "watermark_info": {"enabled": True},
        "callback_url": "https://example.com/hook",
        "external_task_id": "mine",
    }
    assert ask.body(gateway, **body) == body


@pytest.mark.parametrize("name", ["image", *SIDES])
def test_the_picture_and_all_sides_are_required(name: str) -> None:
    assert ask.refusal(**{name: None}) == f"{name} is required"


@pytest.mark.parametrize("name", SIDES)
def test_a_ratio_is_0_to_2(name: str) -> None:
    assert [ask.body(**{name: one})[name] for one in (0, 0.5, 2, "1.5")] == [0, 0.5, 2, 1.5]
    assert ask.refusal(**{name: 2.01}) == f"{name} is 2.01, the greatest is 2.0"
    assert ask.refusal(**{name: -0.01}) == f"{name} is -0.01, the least is 0.0"
    assert ask.refusal(**{name: True}).startswith(f"{name} is True: give a number")


@pytest.mark.parametrize(
    "ratios",
    [(2, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1.2, 0.8), (0.5, 0, 0.5, 0.5), (0.1, 0.1, 0.75, 0.75), (0.2, 0.3, 0.6, 0.4)],
    ids=str,
)
def test_three_times_the_area_is_allowed(ratios: tuple[float, ...]) -> None:
    assert ask.body(**sides(*ratios))["up_expansion_ratio"] == ratios[0]


def test_more_than_three_times_the_area_is_refused() -> None:
    assert ask.refusal(**sides(1, 1, 0.5, 0)) == (
        "the expansion ratios (up 1, down 1, left 0.5, right 0) make 4.5 times the picture's area, at most 3 times is "
        "allowed"
    )
    assert "make 3.003 times" in ask.refusal(**sides(1, 1.0, 0.001, 0))
    assert "make 25 times" in ask.refusal(**sides(2, 2, 2, 2))


def test_prompt_and_number() -> None:
    assert ask.body(prompt="x" * 2500)
    assert ask.refusal(prompt="x" * 2501) == "prompt has 2501 characters, at most 2500 are allowed"
    assert ask.refusal(n=10) == "n is 10, the greatest is 9"
    assert ask.refusal(n=0) == "n is 0, the least is 1"


@pytest.mark.parametrize("name", ["bottom_expansion_ratio", "model_name", "aspect_ratio"])
def test_what_is_no_field(name: str) -> None:
    assert ask.refusal(**{name: "x"}) == f"{name} is not a field of the API"


def test_the_area_waits_for_sides_that_are_templates() -> None:
    refused = ask.refused_in_the_dag_file
    assert "make 4.5 times" in (refused(**sides(1, 1, 0.5, 0)) or "")
    assert refused(**sides(1, 1, 0.5, "{{ params.right }}")) is None
    assert "up_expansion_ratio is 3, the greatest is 2.0" in (refused(**sides(3, 1, 0.5, "{{ a }}")) or "")
    assert refused(**sides(2, 2, None, None)) is None  # missing, which the run says
