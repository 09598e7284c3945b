"""Checks the fields of a connection and makes of them what both clients need; imports no Airflow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from airflow_kling.api.auth import BearerAuth, JWTAuth, KlingAuth
from airflow_kling.api.callbacks import make_callback_url
from airflow_kling.api.gateways import DEFAULT_GATEWAY, GATEWAYS, Gateway
from airflow_kling.api.hosts import is_local
from airflow_kling.api.price_list import Price
from airflow_kling.api.prices import parse_prices
from airflow_kling.api.proxies import Proxy, proxy_for
from airflow_kling.api.redact import redact_url
from airflow_kling.api.transport import DEFAULT_TIMEOUT
from airflow_kling.exceptions import KlingInputError

ENVIRONMENT = "environment"  # in place of a proxy: downloads too go through the one that the environment names
MAX_REQUESTS_PER_SECOND = 400.0  # ten thousand waiting tasks are looked at every 25 s, for ~15 % of one core


def _or_default(default: Any) -> BeforeValidator:
    """Take a blank form field, an empty string or None, as the default; strip the spaces around a pasted one."""

    def clean(value: Any) -> Any:
        value = value.strip() if isinstance(value, str) else value
        return default if value in ("", None) else value

    return BeforeValidator(clean)


def _names(value: Any) -> Any:
    """Take the names of a form field, ``kling-v2-1, kling-v2``, as a list."""
    return [name for name in re.split(r"[\s,]+", value) if name] if isinstance(value, str) else value


def _models_by_route(value: Any) -> Any:
    """Take names alone as those of every route."""
    value = value if isinstance(value, Mapping) else {"*": value or ()}
    return {route: names for route, given in value.items() if (names := _names(given))}


class Settings(BaseModel):
    """One connection to Kling.

    :param host: base URL; the gateway's own when blank. Without a scheme, https.
    :param api_key: the connection's password.
    :param gateway: a name in :data:`airflow_kling.api.gateways.GATEWAYS`.
    :param access_key: of the official gateway; with ``secret_key`` it takes the place of the API key.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param max_requests_per_second: of all waiting tasks of a triggerer together; the API documents no limit.
    :param models: model names by route, the default first, in place of the known ones; under ``*`` for all routes.
    :param prices: units by route and model, in place of Kling's list; see :mod:`airflow_kling.api.price_list`.
    :param max_units: what a generation may cost at most by its estimate, in units of the pack of its route; no limit
        when blank.
    :param refuses_duplicates: whether the account refuses a second task with the same ``external_task_id``.
    :param namespace: tells this Airflow from others that use the account.
    :param record_store: object storage URL for submission records.
    :param callback_base_url: where Kling reaches the callback receiver, which needs a ``record_store``.
    :param callback_secret: signs the callback URLs; the secret key, else the API key, when blank.
    :param webhook_secret: of Kling's own signature, which the receiver checks then.
    :param proxy: for the API and downloads, whatever the environment says; ``environment`` takes the environment's for
        downloads too. When blank, calls of the API take the environment's and downloads none.
    :param trusted_networks: networks that hosts of result URLs may be in, beside public ones.
    :param allow_http: the base URL may be http on a public host, where the key can be read on its way.
    :param allow_private_hosts: result images may come from private addresses and over plain http; says nothing about
        the base URL.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    host: Annotated[str, _or_default("")] = ""
    api_key: Annotated[SecretStr, _or_default("")] = SecretStr("")
    gateway: Annotated[str, _or_default(DEFAULT_GATEWAY.name)] = DEFAULT_GATEWAY.name
    access_key: Annotated[SecretStr, _or_default("")] = SecretStr("")
    secret_key: Annotated[SecretStr, _or_default("")] = SecretStr("")
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False), _or_default(DEFAULT_TIMEOUT)] = DEFAULT_TIMEOUT
    max_requests_per_second: Annotated[
        float, Field(gt=0, allow_inf_nan=False), _or_default(MAX_REQUESTS_PER_SECOND)
    ] = MAX_REQUESTS_PER_SECOND
    models: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_models_by_route)] = Field(default_factory=dict)
    prices: Annotated[dict[str, dict[str, Price]], BeforeValidator(parse_prices)] = Field(default_factory=dict)
    max_units: Annotated[float | None, Field(gt=0, allow_inf_nan=False), _or_default(None)] = None
    refuses_duplicates: Annotated[bool | None, _or_default(None)] = None
    namespace: Annotated[str, _or_default("")] = ""
    record_store: Annotated[str, _or_default("")] = ""
    callback_base_url: Annotated[str, _or_default("")] = ""
    callback_secret: Annotated[SecretStr, _or_default("")] = SecretStr("")
    webhook_secret: Annotated[SecretStr, _or_default("")] = SecretStr("")
    proxy: Annotated[SecretStr, _or_default("")] = SecretStr("")
    trusted_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_names), _or_default(())] = ()
    allow_http: Annotated[bool, _or_default(False)] = False
    allow_private_hosts: Annotated[bool, _or_default(False)] = False

    @classmethod
    def parse(
        cls,
        *,
        conn_id: str,
        host: str | None,
        port: int | None,
        schema: str | None,
        password: str | None,
        extra: Mapping[str, Any],
    ) -> Self:
        """Check a connection's fields.

        :raises KlingInputError: a field is wrong or the key is missing; the sentence names the connection and field.
        """
        try:
            settings = cls.model_validate({**extra, "host": _url(host, port, schema), "api_key": password})
        except ValidationError as error:
            wrong = "; ".join(map(_said, error.errors()))
            raise KlingInputError(f"Connection {conn_id!r} is not usable: {wrong}; nothing was sent.") from None
        if problem := settings._problem():
            raise KlingInputError(f"Connection {conn_id!r} {problem}; nothing was sent.")
        return settings

    def _problem(self) -> str | None:
        if self.gateway not in GATEWAYS:
            return f"has gateway {self.gateway!r} in its extra, which must be one of {', '.join(GATEWAYS)}"
        if self.host and not _is_base_url(self.host):
            return f"has host {redact_url(self.host)!r}, which must be a base URL such as {self.api.base_url}"
        if self.host and not self.allow_http and _shows_the_key(httpx.URL(self.host)):
            return (
                f"has host {redact_url(self.host)!r}, where plain http shows the key to everybody in between: "
                "write https, or set allow_http in the extra"
            )
        if problem := self._proxy_problem():
            return problem
        if bool(self.access_key) != bool(self.secret_key):
            return "has only one of access_key and secret_key: give both, or an API key as password"
        if self.access_key and not self.api.signs_jwt:
            return f"has an access_key, but gateway {self.gateway!r} takes only an API key as password"
        if not self.access_key and not self.api_key:
            return "has no API key: put it into the password field"
        if not all(map(_fits_a_header, (self.api_key, self.access_key, self.secret_key))):
            return "has a key with characters in it that no key has: copy it again"
        return self._problem_of_callbacks()

    def _problem_of_callbacks(self) -> str | None:
        if not self.callback_base_url:
            return None
        if not _is_base_url(self.callback_base_url):
            shown = redact_url(self.callback_base_url)
            return f"has callback_base_url {shown!r}, which must be a URL such as https://example.com/kling-callbacks"
        if not self.record_store:
            return "has a callback_base_url but no record_store, which is where the receiver notes what it is told"
        return None

    def _proxy_problem(self) -> str | None:
        try:
            _ = self._own_proxy
        except ValueError as error:
            return f"has a proxy that {error}; or write environment"
        return None

    @property
    def _own_proxy(self) -> Proxy | None:
        """The proxy that the connection names itself.

        :raises ValueError: it is none.
        """
        text = self.proxy.get_secret_value()
        return Proxy.parse(text) if text and text.lower() != ENVIRONMENT else None

    @property
    def api(self) -> Gateway:
        """The gateway, as data, with what the connection says of the account."""
        known = GATEWAYS[self.gateway]
        refuses = known.refuses_duplicates if self.refuses_duplicates is None else self.refuses_duplicates
        return replace(known, models=self.models, refuses_duplicates=refuses)

    def auth(self, on_token: Callable[[str], object] | None = None) -> KlingAuth:
        """Make what signs calls; the clients of a process share the token of a pair of keys.

        :param on_token: called with each new token, to mask it. Airflow never forgets what it masks, and each mask
            makes every line of a log dearer.
        """
        if self.access_key:
            return _jwt_auth(self.access_key.get_secret_value(), self.secret_key.get_secret_value(), on_token)
        return BearerAuth(self.api_key.get_secret_value())

    @property
    def signing_secret(self) -> str:
        """What the callback URLs are signed with."""
        return (self.callback_secret or self.secret_key or self.api_key).get_secret_value()

    def callback_url(self, external_task_id: str) -> str | None:
        """Return where Kling posts the changes of a task; None where there is no receiver."""
        if not self.callback_base_url:
            return None
        return make_callback_url(self.callback_base_url, self.signing_secret, external_task_id)

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that both clients take."""
        return {
            "gateway": self.api,
            "base_url": self.host or None,
            "timeout": self.timeout,
            "proxy": self._own_proxy,
        }

    def download_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a download that say where it may go."""
        return {
            "allow_private_hosts": self.allow_private_hosts,
            "trusted_networks": self.trusted_networks,
            "find_proxy": self._download_proxy,
        }

    def _download_proxy(self, url: str) -> Proxy | None:
        by_environment = self.proxy.get_secret_value().lower() == ENVIRONMENT
        return proxy_for(url, os.environ) if by_environment else self._own_proxy

    def secrets(self) -> list[str]:
        """Return what no log may show, in each form in which it may appear."""
        keys = (self.api_key, self.access_key, self.secret_key, self.callback_secret, self.webhook_secret)
        proxy = urlsplit(self.proxy.get_secret_value())
        of_proxy = proxy.password or proxy.username
        found = [key.get_secret_value() for key in keys]
        found += [proxy.geturl(), of_proxy, unquote(of_proxy)] if of_proxy else []
        return [secret for secret in dict.fromkeys(found) if secret]


@lru_cache(maxsize=32)
def _jwt_auth(access_key: str, secret_key: str, on_token: Callable[[str], object] | None) -> JWTAuth:
    return JWTAuth(access_key, secret_key, on_token=on_token)


def _said(error: ErrorDetails) -> str:
    """Say which field is wrong, and why; an error of our own is a sentence after the field's name."""
    own = error.get("ctx", {}).get("error") if error["type"] == "value_error" else None
    return f"{error['loc'][0]} {own}" if own else f"{error['loc'][0]}: {error['msg'].lower()}"


def _url(host: str | None, port: int | None, schema: str | None) -> str:
    """Build the base URL; a connection that was given as a URI has it split into schema, host and port."""
    host = (host or "").strip().rstrip("/")
    if not host:
        return ""
    url = host if "://" in host else f"{schema or 'https'}://{_bracketed(host)}"
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.netloc}:{port}").geturl() if port and parts.port is None else url
    except ValueError:
        return url  # refused by what checks the URL


def _bracketed(host: str) -> str:
    """Put an IPv6 address, which Airflow takes out of the brackets of a URI, into brackets again."""
    try:
        return f"[{IPv6Address(host)}]"
    except AddressValueError:
        return host


def _is_base_url(text: str) -> bool:
    """Tell whether paths can be appended to it; credentials in it would end up in logs, a zone id (%) in headers."""
    try:
        url, netloc = httpx.URL(text), urlsplit(text).netloc
    except (httpx.InvalidURL, ValueError):
        return False
    plain = not (url.query or url.fragment or re.search(r"[@%\\]", netloc) or re.search(r"\s", text))
    return plain and bool(url.host) and url.scheme in ("http", "https") and 0 < (url.port or 1) < 2**16


def _shows_the_key(url: httpx.URL) -> bool:
    """Tell whether requests to a URL cross other people's networks as plain text."""
    return url.scheme == "http" and not is_local(url.raw_host.decode())


def _fits_a_header(secret: SecretStr) -> bool:
    """Tell whether HTTP can carry it; the error of the HTTP library would show the key."""
    value = secret.get_secret_value()
    return value.isascii() and value.isprintable() and " " not in value
