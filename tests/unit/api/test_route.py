"""Whether a video fits the limits of a model, by its seconds and sides."""

from __future__ import annotations

import pytest

from airflow_kling.api.route import VIDEO

O1 = VIDEO._replace(seconds=(3.0, 10.0), sides=(720, 2160), max_pixels=None)
NAME, WHO = "video_list[0]", "model 'm'"


@pytest.mark.parametrize("seconds", [2.5, 3, 10, 10.04, 10.5])
@pytest.mark.parametrize("sides", [(720, 2160), (2160, 720), (960, 960)])
def test_the_limits_themselves_are_taken(seconds: float, sides: tuple[int, int]) -> None:
    assert O1.broken(NAME, {"duration": seconds, "width": sides[0], "height": sides[1]}, who=WHO) is None


@pytest.mark.parametrize(
    ("limits", "seconds", "sides", "said"),
    [
        (O1, 2.4, (720, 720), "video_list[0] plays 2.4 s, but model 'm' takes 3 to 10 s"),
        (O1, 10.6, (720, 720), "video_list[0] plays 10.6 s, but model 'm' takes 3 to 10 s"),
        (O1, 5, (718, 1280), "video_list[0] has 718x1280 pixels, but model 'm' takes 720 to 2160 a side"),
        (O1, 5, (1280, 2162), "video_list[0] has 1280x2162 pixels, but model 'm' takes 720 to 2160 a side"),
        (VIDEO, 5, (3840, 2162), "video_list[0] has 3840x2162 pixels, but model 'm' takes 8294400 at most"),
    ],
)
def test_what_is_over_a_limit(limits: object, seconds: float, sides: tuple[int, int], said: str) -> None:
    reference = {"duration": seconds, "width": sides[0], "height": sides[1]}
    assert limits.broken(NAME, reference, who=WHO) == said  # type: ignore[attr-defined]
