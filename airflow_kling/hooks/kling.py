"""Turns an Airflow connection into a client: the only place that reads connections of Kling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook, mask_secret

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_kling.api.async_client import AsyncKlingClient
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.connection import Settings
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.max_units import Limit, Priced
    from airflow_kling.api.tasks import KlingTask

# Looked up by test_connection: no task has this id, so "not found" proves that host, route and key are right.
_NO_SUCH_TASK = "airflow-connection-test"


class KlingHook(BaseHook):
    """Kling's image API through an Airflow connection of type ``kling``.

    ``password`` is the API key; ``host`` the base URL (the gateway's own when blank); the extra holds ``gateway``
    (``cometapi``, ``cometapi-v2``, ``official``), ``access_key`` and ``secret_key`` (official gateway only, instead of
    the password), and what docs/connection.md lists: ``timeout``, ``proxy``, ``trusted_networks`` ...

    :param kling_conn_id: the connection.
    """

    conn_name_attr = "kling_conn_id"
    default_conn_name = "kling_default"
    conn_type = "kling"
    hook_name = "Kling"

    def __init__(self, kling_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kling_conn_id = kling_conn_id
        self._settings: Settings | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Form fields for Airflow up to 3.1; later ones read them from the provider info, which is where they live.

        Airflow 2.11 drops a hook that has another kind of field than these four.
        """
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, IntegerField, PasswordField, StringField
        from wtforms.validators import AnyOf, Optional

        def field(spec: dict[str, Any]) -> Any:
            schema, about = spec["schema"], {"label": spec["label"], "description": spec["description"]}
            if "enum" in schema:
                choices = [AnyOf(schema["enum"])]
                return StringField(widget=BS3TextFieldWidget(), default=schema["default"], validators=choices, **about)
            if "boolean" in schema["type"]:
                return BooleanField(default=schema["default"], **about)
            if "integer" in schema["type"]:
                return IntegerField(widget=BS3TextFieldWidget(), validators=[Optional()], **about)
            if schema.get("format") != "password":
                return StringField(widget=BS3TextFieldWidget(), **about)
            return PasswordField(widget=BS3PasswordFieldWidget(), **about)

        return {name: field(spec) for name, spec in _connection_type()["conn-fields"].items()}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Labels and hidden fields for Airflow up to 3.1; later ones read the provider info."""
        behaviour = _connection_type()["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @property
    def settings(self) -> Settings:
        """The connection's checked fields; looked up once.

        :raises KlingInputError: a field is wrong.
        """
        if self._settings is None:
            connection = self.get_connection(self.kling_conn_id)
            self._settings = self._parse(connection, connection.extra_dejson)
        return self._settings

    async def aget_settings(self) -> Settings:
        """Return :attr:`settings` without blocking the event loop; a lookup costs the supervisor ~15 ms."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        if self._settings is None:
            connection = await get_async_connection(self.kling_conn_id)
            self._settings = self._parse(connection, await get_async_extra_dejson(connection))
        return self._settings

    def _parse(self, connection: Any, extra: Mapping[str, Any]) -> Settings:
        from airflow_kling.api.connection import Settings

        return Settings.parse(
            conn_id=self.kling_conn_id,
            host=connection.host,
            port=connection.port,
            schema=connection.schema,
            password=connection.password,
            extra=extra,
        )

    def get_conn(self) -> KlingClient:
        """A new blocking client; the caller closes it (it is a context manager).

        :raises KlingInputError: the connection is not usable.
        """
        from airflow_kling.api.client import KlingClient

        settings = self.settings
        _mask(settings)
        return KlingClient(
            settings.auth(on_token=mask_secret), callback_url=settings.callback_url, **settings.client_options()
        )

    async def get_async_conn(self) -> AsyncKlingClient:
        """A new client for the running event loop; the caller closes it (``async with``).

        :raises KlingInputError: the connection is not usable.
        """
        from asgiref.sync import sync_to_async

        from airflow_kling.api.async_client import AsyncKlingClient
        from airflow_kling.api.transport import shared_ssl_context

        settings = await self.aget_settings()
        # In threads: the one blocks for ~50 ms, the other talks to Airflow's supervisor in a way that a loop may not.
        context = await asyncio.to_thread(shared_ssl_context)
        # Not asyncio.to_thread: from its threads Airflow 3.0 and 3.1 would read the supervisor's answer in a second
        # event loop, take another request's for it, and the triggerer would end ("Response read out of order").
        await sync_to_async(_mask)(settings)
        # Tokens are not masked here: no message of this client holds one, and a triggerer lives through thousands.
        return AsyncKlingClient(settings.auth(), ssl_context=context, **settings.client_options())

    def submit(self, request: KlingRequest | Mapping[str, Any], *, route: str = DEFAULT_ROUTE) -> KlingTask:
        """Submit a generation: the one call that costs money, sent again only where it never reached the API.

        :param request: the request, or its fields; references are URLs or raw base64.
        :param route: name of the route that it is for.
        :raises KlingInputError: the request breaks a limit of the API, or by its estimate the connection's
            ``max_units``; nothing was sent.
        :raises KlingAPIError: the API refused it, or failed.
        :raises KlingConnectionError: no answer came; ``request_sent`` says whether a generation may exist.
        """
        from airflow_kling.api.fields import KlingRequest
        from airflow_kling.api.request import for_gateway

        if not isinstance(request, KlingRequest):
            request = find_route(route).request.parse(request)
        priced = self.price(for_gateway(find_route(route), request, self.settings.api), route=route)
        if priced.too_dear:
            raise KlingInputError(f"{priced.too_dear}; nothing was submitted.")
        with self.get_conn() as client:
            return client.create(request, route=route)

    def price(self, request: KlingRequest, *, route: str, limit: Limit | None = None) -> Priced:
        """Estimate what a request will be billed, and check the estimate against the connection's ``max_units``.

        :param request: with the model that is sent.
        :param limit: another limit that counts too.
        """
        from airflow_kling.api import max_units
        from airflow_kling.api.prices import priced_fields

        own = max_units.limit_of(self.settings.max_units, f"the connection {self.kling_conn_id!r}")
        fields = request.model_dump(include=set(priced_fields(route)))
        return max_units.price(route, fields, prices=self.settings.prices, limits=(limit, own))

    def get_task(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE) -> KlingTask:
        """Ask for one task, whatever its status; free, so repeated on transient errors.

        :param route: name of the route that made it.
        :raises KlingTaskNotFoundError: unknown, older than 30 days, or another account's.
        """
        with self.get_conn() as client:
            return client.get(kling_task_id, route=route)

    def test_connection(self) -> tuple[bool, str]:
        """Ask for a task that cannot exist, which is free: "not found" proves that host, route and key are right."""
        from airflow_kling.exceptions import KlingBadRequestError, KlingError, KlingTaskNotFoundError

        try:
            with self.get_conn() as client:
                client.get(_NO_SUCH_TASK, deadline=0)  # at once: somebody waits for the answer
        except (KlingTaskNotFoundError, KlingBadRequestError):
            pass  # the key was accepted; the id was not, as it should be
        except KlingError as error:
            return False, str(error)
        return True, f"Kling answers at {self.settings.host or self.settings.api.base_url} and accepts the key."


def _mask(settings: Settings) -> None:
    """Airflow masks the password and the extra as a whole, not the values in the extra nor a stripped password."""
    for secret in settings.secrets():
        mask_secret(secret)


def _connection_type() -> dict[str, Any]:
    from airflow_kling.get_provider_info import CONNECTION_TYPE

    return CONNECTION_TYPE
