"""Finds out whose callbacks are taken: by which secret they are known, and where they are noted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.storage.base import Store

log = logging.getLogger(__name__)

CACHED = 30.0  # seconds: strangers must not make the server ask its database


@dataclass(frozen=True)
class Receiver:
    """One account's callbacks.

    :param secret: of the callback URLs.
    :param store: the record store.
    :param webhook: Kling's signature, a ``standardwebhooks.Webhook``; None where it is not checked.
    """

    secret: str = field(repr=False)
    store: Store
    webhook: Any = field(default=None, repr=False)

    def is_signed(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Tell whether Kling's signature is right, or is not asked for."""
        if self.webhook is None:
            return True
        from standardwebhooks.webhooks import WebhookVerificationError

        try:
            self.webhook.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):  # text that is no base64 or no UTF-8
            return False
        return True


#: Finds a receiver by the last part of the path before name and token.
Find = Callable[[str], Awaitable[Receiver | None]]


def make_receiver(secret: str, record_store: str, webhook_secret: str, *, aws_conn_id: str | None) -> Receiver:
    """Make a receiver.

    :param record_store: URL of the record store.
    :param webhook_secret: of Kling's signature, ``whsec_...``; blank where it is not checked.
    :param aws_conn_id: for ``s3://`` only, where the URL names no connection; None for boto3's own ways.
    :raises KlingInputError: the record store cannot be one, or the signature cannot be checked.
    """
    from airflow_kling.storage.open import open_store

    webhook = _webhook(webhook_secret) if webhook_secret else None
    return Receiver(secret, open_store(record_store, aws_conn_id=aws_conn_id), webhook)


def _webhook(secret: str) -> Any:
    try:
        from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook
    except ImportError:
        raise KlingInputError(
            "Kling's signature cannot be checked without the library standardwebhooks: install "
            "airflow-provider-kling[callbacks]; no callback is taken."
        ) from None
    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, ValueError):  # a text of theirs may show the secret
        raise KlingInputError("The webhook secret is not base64, as whsec_... is; no callback is taken.") from None


class ConnectionReceivers:
    """Receivers of Airflow connections.

    :param conn_ids: the only connections that take callbacks.
    :param clock: seconds of a clock that never goes back.
    """

    def __init__(self, conn_ids: Collection[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._conn_ids = frozenset(conn_ids)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: dict[str, tuple[float, Receiver | None]] = {}

    async def find(self, conn_id: str) -> Receiver | None:
        """Return the receiver of a connection; None where it takes no callbacks, or cannot be read now."""
        if conn_id not in self._conn_ids:
            return None
        async with self._lock:
            until, receiver = self._found.get(conn_id, (0.0, None))
            if self._clock() >= until:
                receiver = await asyncio.to_thread(_read_connection, conn_id)
                self._found[conn_id] = (self._clock() + CACHED, receiver)
            return receiver


def _read_connection(conn_id: str) -> Receiver | None:
    from airflow_kling.hooks.kling import KlingHook
    from airflow_kling.storage.open import AWS_CONN_ID

    try:
        settings = KlingHook(conn_id).settings
        if not settings.callback_base_url:
            log.error("Connection %r takes no callbacks: it has no callback_base_url.", conn_id)
            return None
        webhook_secret = settings.webhook_secret.get_secret_value()
        return make_receiver(settings.signing_secret, settings.record_store, webhook_secret, aws_conn_id=AWS_CONN_ID)
    except Exception:  # whatever is wrong: nothing is taken, and the log says why
        log.exception("Connection %r takes no callbacks.", conn_id)
        return None
