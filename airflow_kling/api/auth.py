"""How a call is signed: ``httpx.Auth`` classes whose secrets no repr shows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator

import httpx
import jwt

TOKEN_LIFETIME = 1800  # seconds [C]
CLOCK_SKEW = 5  # seconds that nbf lies in the past [C]
RENEW_BEFORE = 60  # seconds before its end that a token is replaced
TOKEN_TIME_CODES = (1003, 1004, "1003", "1004")  # not yet valid, expired: worth one more try with a new token


class BearerAuth(httpx.Auth):
    """``Authorization: Bearer <API key>``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key to a request."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        yield request


class JWTAuth(httpx.Auth):
    """A short-lived HS256 token from the official AccessKey/SecretKey pair, signed anew before it expires.

    :param on_token: told each new token, so that it can be masked in logs.
    :param clock: epoch seconds.
    """

    requires_response_body = True

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        *,
        on_token: Callable[[str], object] = lambda token: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._on_token = on_token
        self._clock = clock
        self._token = ""
        self._expires = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add a token to a request; send it once more with a new one when the API calls the token out of time."""
        if self._clock() > self._expires - RENEW_BEFORE:
            self._sign()
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == 401 and _code(response) in TOKEN_TIME_CODES:
            self._sign()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _sign(self) -> None:
        now = int(self._clock())
        self._expires = now + TOKEN_LIFETIME
        claims = {"iss": self._access_key, "exp": now + TOKEN_LIFETIME, "nbf": now - CLOCK_SKEW}
        self._token = jwt.encode(claims, self._secret_key, algorithm="HS256", headers={"typ": "JWT"})
        self._on_token(self._token)


def _code(response: httpx.Response) -> object:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return body.get("code") if isinstance(body, dict) else None
