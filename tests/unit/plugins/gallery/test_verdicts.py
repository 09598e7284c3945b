"""What is not shown is remembered for a while."""

from __future__ import annotations

from airflow_kling.plugins.gallery import verdicts
from airflow_kling.plugins.gallery.verdicts import Verdicts


def test_a_reason_is_remembered_for_a_while() -> None:
    now = [0.0]
    known = Verdicts(lambda: now[0])
    assert known.get("a") is None
    known.put("a", "takes too long")
    assert known.get("a") == "takes too long"
    now[0] = verdicts.FOR
    assert known.get("a") is None


def test_the_oldest_goes_first() -> None:
    known = Verdicts(lambda: 0.0)
    for number in range(verdicts._MOST + 1):
        known.put(str(number), "x")
    assert (known.get("0"), known.get("1")) == (None, "x")
