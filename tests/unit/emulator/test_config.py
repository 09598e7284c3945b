"""Settings."""

from __future__ import annotations

import pytest

from airflow_kling.emulator import Duration, EmulatorConfig


def test_durations():
    assert Duration.parse("8").seconds("any") == 8
    spread = Duration.parse("lognormal:20:0.5")
    seconds = [spread.seconds(str(task_id)) for task_id in range(400)]
    assert seconds == [spread.seconds(str(task_id)) for task_id in range(400)]
    assert 17 < sorted(seconds)[200] < 23
    for bad in ("soon", "lognormal:1", "-1", "lognormal:0:1", "nan"):
        with pytest.raises(ValueError, match=r"."):
            Duration.parse(bad)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"image_format": "gif"}, "image_format"),
        ({"image_size": 15}, "image_size"),
        ({"accounts": ()}, "account"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_settings_out_of_range(settings, named):
    with pytest.raises(ValueError, match=named):
        EmulatorConfig(**settings)
