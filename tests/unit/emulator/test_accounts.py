"""Which callers are known."""

from __future__ import annotations

import time

import httpx
import jwt
import pytest

from airflow_kling.emulator.config import DEFAULT_ACCOUNT
from tests.unit.emulator.calls import PATHS


def token(issuer="kling-emulator-access", secret=None, **claims):
    now = int(time.time())
    claims = {"iss": issuer, "exp": now + 1800, "nbf": now - 5} | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret or DEFAULT_ACCOUNT.secret_key, "HS256")


@pytest.mark.parametrize(
    ("make_header", "code"),  # made by each test: one that waits long for its turn would be out of time
    [
        (lambda: None, 1001),
        (lambda: "", 1001),
        (lambda: "Basic abc", 1002),
        (lambda: "Bearer", 1002),
        (lambda: "Bearer wrong", 1000),
        (lambda: "Bearer a.b.c", 1002),
        (lambda: f"Bearer {token(secret='x' * 40)}", 1000),
        (lambda: f"Bearer {token('nobody')}", 1000),
        (lambda: f"Bearer {token(exp=None)}", 1002),
        (lambda: f"Bearer {token(nbf=int(time.time()) + 600)}", 1003),
        (lambda: f"Bearer {token(exp=int(time.time()) - 1)}", 1004),
    ],
)
def test_official_authentication_codes(emulator, make_header, code):
    header = make_header()
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{emulator.url}{PATHS['official']}", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_signed_token_is_an_account_on_the_official_gateway_only(emulator):
    headers = {"Authorization": f"Bearer {token()}"}
    assert httpx.get(f"{emulator.url}{PATHS['official']}", headers=headers, trust_env=False).status_code == 200
    answer = httpx.get(f"{emulator.url}{PATHS['cometapi']}/1", headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "comet_api_error"
    assert "request id: " in answer.json()["error"]["message"]
