"""What is said of a price before it is paid, and what costs too much: the emulator's bill shows nothing of that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.operators.image_to_video import KlingImageToVideoOperator
from airflow_kling.operators.text_to_video import KlingTextToVideoOperator
from airflow_kling.reporting.xcom import request_key
from airflow_kling.submission.identity import fingerprint

CLIP: dict[str, Any] = {"prompt": "a cat", "duration": "10", "model_name": "kling-v3"}  # 6 units


class Store(dict[str, Any]):
    """As Airflow 3.3's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


def submit(ti: Any, **fields: Any) -> str:
    made: str = KlingTextToVideoOperator(task_id="submit", retries=2, **{**CLIP, **fields}).execute({"ti": ti})
    return made


def created(emulator: Emulator) -> tuple[int, int]:
    ledger = emulator.ledger()
    return ledger["requests"]["create"], ledger["totals"]["created"]


def test_the_log_and_the_request_record_have_the_estimate(kling: Emulator, ti: Any, plain_logs: Any) -> None:
    plain_logs.set_level(logging.INFO)
    made = submit(ti)
    asked = ti.xcoms[request_key(made)]
    assert asked["estimated_units"] == 6.0
    line = "Estimated: 6 units (about $0.84), by Kling's list price of 2026-11-26; CometAPI has its own prices."
    assert line in plain_logs.text
    assert fingerprint(asked) == fingerprint({**asked, "estimated_units": 99.0})


def test_the_model_that_the_gateway_really_gets_is_priced(connect: Any, emulator: Emulator, ti: Any) -> None:
    connect(emulator, gateway="official", extra={"models": {"text-to-video": "kling-v2-6, kling-v3"}})
    made = submit(ti, model_name=None)
    asked = ti.xcoms[request_key(made)]
    assert (asked["model_name"], asked["estimated_units"]) == ("kling-v2-6", 3.0)


def test_a_price_that_is_not_known_is_left_out(kling: Emulator, ti: Any, plain_logs: Any) -> None:
    plain_logs.set_level(logging.INFO)
    kling.faults.add(on="create", action="error", code=1303)  # the emulator knows the model no more than the list does
    with pytest.raises(Exception, match="1303"):
        submit(ti, model_name="kling-v9", duration="5", submit_timeout=0)
    assert "Estimated" not in plain_logs.text


@pytest.mark.parametrize("limit", [5.9, "{{ params.limit }}"])
@pytest.mark.parametrize("owner", ["task", "connection", "both"])
def test_what_costs_more_than_the_limit_is_not_sent(
    owner: str, limit: Any, emulator: Emulator, connect: Callable[..., str], ti: Any
) -> None:
    connect(emulator, extra={"max_units": "3" if owner == "both" else 5.9} if owner != "task" else {})
    fields = {**CLIP, "duration": "{{ '10' }}"}  # known when the task runs
    with DAG("price", schedule=None):
        task = KlingTextToVideoOperator(task_id="submit", max_units=limit if owner != "connection" else None, **fields)
    context: Any = {"ti": ti, "params": {"limit": "5.9"}, "task": task}
    task.render_template_fields(context)
    with pytest.raises(KlingInputError) as caught:
        task.execute(context)
    assert isinstance(caught.value, AirflowFailException)
    where = "the task allows 5.9" if owner == "task" else "the connection 'kling_default' allows 5.9"
    if owner == "both":
        where = "the connection 'kling_default' allows 3"
    assert str(caught.value) == (
        f"The generation would cost 6 units (about $0.84), and max_units of {where}: ask for less, or raise the limit. "
        "Nothing was submitted."
    )
    assert created(emulator) == (0, 0)


def test_what_costs_as_much_as_the_limit_is_sent(emulator: Emulator, connect: Callable[..., str], ti: Any) -> None:
    connect(emulator, extra={"max_units": 6})
    submit(ti, max_units=6)
    assert created(emulator) == (1, 1)


def test_a_price_that_is_not_known_cannot_be_checked(emulator: Emulator, connect: Callable[..., str], ti: Any) -> None:
    connect(emulator, extra={"max_units": 100})
    with pytest.raises(KlingInputError, match=r"cannot be checked: give its price .*\"kling-v9\": {\"std\": 1}"):
        submit(ti, model_name="kling-v9", duration="5")
    assert created(emulator) == (0, 0)


def test_the_connections_price_decides(
    emulator: Emulator, connect: Callable[..., str], ti: Any, plain_logs: Any
) -> None:
    plain_logs.set_level(logging.INFO)
    connect(emulator, extra={"max_units": 5, "prices": '{"text-to-video": {"kling-v3": 0.5}}'})
    submit(ti)
    assert created(emulator) == (1, 1)
    assert "Estimated: 5 units (about $0.7), by the connection's prices." in plain_logs.text


def test_a_limit_does_not_hinder_what_is_paid_for_already(
    emulator: Emulator, connect: Callable[..., str], ti: Any
) -> None:
    connect(emulator, gateway="official")
    context: Any = {"ti": ti, "task_state_store": Store()}
    task = KlingTextToVideoOperator(task_id="submit", retries=2, **CLIP)
    made = task.execute(context)
    connect(emulator, gateway="official", extra={"max_units": 1})
    ti.try_number += 1
    assert KlingTextToVideoOperator(task_id="submit", retries=2, **CLIP).execute(context) == made
    assert emulator.ledger()["totals"]["created"] == 1


def test_the_hook_keeps_the_connections_limit(emulator: Emulator, connect: Callable[..., str]) -> None:
    connect(emulator, extra={"max_units": 5})
    with pytest.raises(KlingInputError, match=r"would cost 6 units .* allows 5: .*; nothing was submitted\."):
        KlingHook().submit(CLIP, route="text-to-video")
    assert created(emulator) == (0, 0)
    KlingHook().submit({**CLIP, "duration": "5"}, route="text-to-video")
    assert created(emulator) == (1, 1)


PARSED: list[tuple[type, dict[str, Any], bool]] = [
    (KlingTextToVideoOperator, {**CLIP, "max_units": 5}, False),
    (KlingTextToVideoOperator, {**CLIP, "max_units": "5.5"}, False),
    (KlingTextToVideoOperator, {**CLIP, "max_units": 6}, True),
    (KlingTextToVideoOperator, {**CLIP, "max_units": "{{ 5 }}"}, True),
    (KlingTextToVideoOperator, {**CLIP, "duration": "{{ '10' }}", "max_units": 5}, True),
    (KlingTextToVideoOperator, {**CLIP, "model_name": None, "max_units": 1}, True),  # the gateway's is not known yet
    (KlingImageToVideoOperator, {**CLIP, "image": "{{ params.image }}", "max_units": 5}, False),
    (
        KlingMultiImageToImageOperator,
        {"subject_images": "{{ x }}", "model_name": "kling-v2", "n": 2, "max_units": 31},
        False,
    ),
]


@pytest.mark.parametrize(("operator", "fields", "allowed"), PARSED)
def test_what_is_literal_is_checked_while_parsing(operator: type, fields: dict[str, Any], allowed: bool) -> None:
    if allowed:
        operator(task_id="submit", **fields)
        return
    with pytest.raises(KlingInputError, match=r"max_units of the task allows .*; nothing was submitted\."):
        operator(task_id="submit", **fields)


def test_a_limit_that_is_no_number_is_refused_while_parsing() -> None:
    with pytest.raises(KlingInputError, match="max_units of the task is 'cheap', it must be a number above 0"):
        KlingTextToVideoOperator(task_id="submit", max_units="cheap", **CLIP)
