"""A callback URL is made for one ``external_task_id``, and nobody without the secret can make one."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.callbacks import callback_name, is_genuine, make_callback_url

BASE = "https://airflow.example.com/kling-callbacks/kling_default"
SECRET = "a-secret-that-nobody-else-knows"
PLAIN = "airflow-0123456789abcdef0123456789abcdef-0-1"
ODD = [
    "",
    "../../etc/passwd",
    "..",
    ".",
    "a/b",
    "a b",
    "a%2fb",
    "täglich",
    "日" * 50,
    "a\nb",
    "a?b#c",
    "~" + "0" * 64,
    "x" * 129,
    "x" * 10_000,
    "\ud800",
]


def parts(url: str) -> tuple[str, str]:
    name, token = urlsplit(url).path.rsplit("/", 2)[1:]
    return name, token


def test_the_url_has_name_and_token_below_the_base() -> None:
    url = make_callback_url(BASE, SECRET, PLAIN)
    assert url.startswith(f"{BASE}/{PLAIN}/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", url.removeprefix(f"{BASE}/{PLAIN}/"))  # 256 bits
    assert make_callback_url(f"{BASE}/", SECRET, PLAIN) == url


def test_the_token_stays_what_it_is() -> None:
    """Generations that were submitted before an upgrade call back with the tokens of before."""
    assert parts(make_callback_url(BASE, SECRET, PLAIN))[1] == "bIYk79wAAPbab3CfvWOiURc6X5IaDdicIz48j-zbvGI"


@pytest.mark.parametrize("external_task_id", ["a", "daily-hero", "Job_7", "x" * 128, PLAIN])
def test_a_plain_id_is_its_own_name(external_task_id: str) -> None:
    assert callback_name(external_task_id) == external_task_id


@pytest.mark.parametrize("external_task_id", ODD)
def test_an_odd_id_becomes_a_hash(external_task_id: str) -> None:
    name = callback_name(external_task_id)
    assert re.fullmatch(r"~[0-9a-f]{64}", name)
    assert name != external_task_id
    assert is_genuine(SECRET, *parts(make_callback_url(BASE, SECRET, external_task_id)))


@given(st.text(max_size=200))
def test_every_id_survives_a_url(external_task_id: str) -> None:
    url = make_callback_url(BASE, SECRET, external_task_id)
    assert quote(url, safe=":/~") == url
    assert is_genuine(SECRET, *parts(url))


@given(st.text(), st.text())
def test_two_ids_have_two_names(one: str, other: str) -> None:
    assert (callback_name(one) == callback_name(other)) is (one == other)


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_else_is_genuine(name: str, token: str) -> None:
    assert not is_genuine(SECRET, name, token)


def test_a_token_is_for_its_name_and_secret_alone() -> None:
    name, token = parts(make_callback_url(BASE, SECRET, PLAIN))
    assert is_genuine(SECRET, name, token)
    assert not is_genuine(SECRET, f"{name}2", token)
    assert not is_genuine(f"{SECRET}2", name, token)
    for wrong in (token[:-1], token + "A", token.swapcase(), token + "=", "", "\ud800", "é" * 43):
        assert not is_genuine(SECRET, name, wrong)


def test_a_name_that_would_leave_its_folder_is_refused_even_with_its_token() -> None:
    from airflow_kling.api import callbacks

    for name in ("../x", "a/b", "", "a.b", "~x", "a\n"):
        assert not is_genuine(SECRET, name, callbacks._token(SECRET, name))
