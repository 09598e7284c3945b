"""Finds the account of a caller, by an API key or, on the official gateway, by a signed JWT."""

from __future__ import annotations

from collections.abc import Iterable

import jwt

from airflow_kling.emulator.config import Account
from airflow_kling.emulator.errors import ApiError, comet_error, kling_error


class Accounts:
    """The configured accounts. Every other caller is refused."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._all = tuple(accounts)
        self._by_key = {account.api_key: account for account in self._all}
        self._by_access_key = {account.access_key: account for account in self._all if account.access_key}

    def names(self) -> list[str]:
        """Every account's name, in the configured order."""
        return [account.name for account in self._all]

    def authenticate(self, header: str | None, *, official: bool) -> Account:
        """Find the account of an ``Authorization`` header.

        :raises ApiError: 401 with the code 1000..1004 on the official gateway, CometAPI's own body elsewhere
        """
        try:
            return self._authenticate(header, official=official)
        except ApiError as error:
            if official:
                raise
            raise comet_error(401, f"Invalid token: {error.message}") from error

    def _authenticate(self, header: str | None, *, official: bool) -> Account:
        if not header or not header.strip():
            raise kling_error(1001)
        scheme, _, token = header.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or " " in token:
            raise kling_error(1002)
        if account := self._by_key.get(token):
            return account
        if official and token.count(".") == 2:
            return self._verify_jwt(token)
        raise kling_error(1000)

    def _verify_jwt(self, token: str) -> Account:
        try:
            # The issuer says whose secret the signature must have; it is verified below.
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except jwt.InvalidTokenError as error:
            raise kling_error(1002, f"Authorization is invalid: {error}") from error
        account = self._by_access_key.get(str(issuer))
        if account is None or account.secret_key is None:
            raise kling_error(1000, "Authentication failed: access key not found")
        try:
            # By the real time: a test that advances the emulator's clock must not expire its own tokens.
            jwt.decode(token, account.secret_key, algorithms=["HS256"], options={"require": ["iss", "exp", "nbf"]})
        except jwt.ImmatureSignatureError as error:
            raise kling_error(1003) from error
        except jwt.ExpiredSignatureError as error:
            raise kling_error(1004) from error
        except (jwt.MissingRequiredClaimError, jwt.DecodeError) as error:
            code = 1000 if isinstance(error, jwt.InvalidSignatureError) else 1002
            raise kling_error(code, f"{kling_error(code).message}: {error}") from error
        except jwt.InvalidTokenError as error:
            raise kling_error(1000, f"Authentication failed: {error}") from error
        return account
