"""Signs calls, with an API key or with short-lived tokens; no repr shows a secret."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_kling.api.envelope import code_of, decode

if TYPE_CHECKING:
    from airflow_kling.api.answer import Answer

TOKEN_LIFETIME = 1800  # seconds [C]
CLOCK_SKEW = 5  # seconds that nbf lies in the past [C]
RENEW_BEFORE = 60  # seconds before its end that a token is replaced
TOKEN_TIME_CODES = ("1003", "1004")  # not yet valid, expired: worth one more try with a new token
CLOCKS_AGREE = 2.0  # seconds; a Date has whole seconds, and travels


class KlingAuth(ABC):
    """Signs a request with one header."""

    @abstractmethod
    def authorization(self) -> str:
        """Return the ``Authorization`` header of the next request."""

    def renewed_after(self, answer: Answer) -> bool:
        """Renew the header where an answer calls it out of time; tell whether one more try is worth it."""
        return False


class BearerAuth(KlingAuth):
    """``Authorization: Bearer <API key>``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def authorization(self) -> str:
        """Return the key, always the same."""
        return f"Bearer {self._api_key}"


class JWTAuth(KlingAuth):
    """A short-lived HS256 token from the official AccessKey/SecretKey pair, signed anew before it expires.

    Where the API calls a token out of time, the next ones are signed by the API's clock, which its answer tells.
    Threads may share one.

    :param on_token: called with each new token before it is used, so that it can be masked in logs.
    :param clock: epoch seconds.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        *,
        on_token: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._on_token = on_token
        self._clock = clock
        self._offset = 0.0  # seconds by which the API's clock is ahead of this one
        self._token = ""
        self._expires = 0.0

    def authorization(self) -> str:
        """Return a token that is valid for at least a minute."""
        if self._now() > self._expires - RENEW_BEFORE:
            self._sign()
        return f"Bearer {self._token}"

    def renewed_after(self, answer: Answer) -> bool:
        """Sign a new token, by the API's clock, where the API calls the old one out of time."""
        out_of_time = answer.status == 401 and _code(answer.content) in TOKEN_TIME_CODES
        if out_of_time:
            self._offset = self._offset_by(answer.header("Date"))
            self._sign()
        return out_of_time

    def _offset_by(self, date: str) -> float:
        """Return how far the clocks are apart; nothing where that has been tried, since then the date is wrong."""
        from airflow_kling.api.error_table import moment

        there = moment(date)
        if there is None:
            return self._offset
        offset = there - self._clock()
        return 0.0 if min(abs(offset), abs(offset - self._offset)) <= CLOCKS_AGREE else offset

    def _now(self) -> float:
        return self._clock() + self._offset

    def _sign(self) -> None:
        import jwt  # 160 ms of CPU, most of it for the certificates of keys that nobody has here

        now = int(self._now())
        expires = now + TOKEN_LIFETIME
        claims = {"iss": self._access_key, "exp": expires, "nbf": now - CLOCK_SKEW}
        token = jwt.encode(claims, self._secret_key, algorithm="HS256", headers={"typ": "JWT"})
        if self._on_token:
            self._on_token(token)
        # In this order, since another thread must not read the new end together with the old token.
        self._token = token
        self._expires = expires


def _code(content: bytes) -> str:
    body = decode(content)
    return code_of(body) if isinstance(body, dict) else ""
