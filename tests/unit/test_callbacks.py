"""The receiver alone: it starts with what it needs, or says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import airflow_kling.callbacks as module
from airflow_kling.callbacks import create_app, main
from airflow_kling.exceptions import KlingInputError
from airflow_kling.plugins.callbacks.app import CallbackApp


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"KLING_CALLBACK_SECRET": "s", "KLING_RECORD_STORE": f"file://{tmp_path}"}


def test_it_needs_a_secret_and_a_store(environment: dict[str, str]) -> None:
    assert isinstance(create_app(environment), CallbackApp)
    for name in environment:
        for missing in ({}, {name: " "}):
            given = {**{key: value for key, value in environment.items() if key != name}, **missing}
            with pytest.raises(KlingInputError, match="must both be set"):
                create_app(given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"KLING_RECORD_STORE": "nowhere"}, "it must be a URL"),
        ({"KLING_WEBHOOK_SECRET": "not base64!"}, "The webhook secret is not base64"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, str], words: str, environment: dict[str, str]) -> None:
    with pytest.raises(KlingInputError, match=words) as caught:
        create_app({**environment, **changes})
    assert "not base64!" not in str(caught.value)


def test_servers_find_the_app_by_its_name(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        assert isinstance(module.app, CallbackApp)
        assert module.app is module.app
    finally:
        vars(module).pop("app", None)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = module.other


def test_the_command_line_says_what_is_missing(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLING_CALLBACK_SECRET", raising=False)
    with pytest.raises(SystemExit):
        main(["--port", "0"])
    assert "KLING_CALLBACK_SECRET and KLING_RECORD_STORE must both be set" in capsys.readouterr().err
