"""Runs the receiver of callbacks alone, without Airflow's database: ``python -m airflow_kling.callbacks``.

Under another ASGI server it is ``airflow_kling.callbacks:app``. Both read ``KLING_CALLBACK_SECRET``,
``KLING_RECORD_STORE`` and, if Kling's signature is to be checked, ``KLING_WEBHOOK_SECRET`` from the environment.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.plugins.callbacks.app import CallbackApp


def create_app(environment: Mapping[str, str]) -> CallbackApp:
    """Build the receiver.

    :raises KlingInputError: a variable is missing or wrong.
    """
    from airflow_kling.plugins.callbacks.app import CallbackApp
    from airflow_kling.plugins.callbacks.receivers import Receiver, make_receiver

    secret, record_store, webhook_secret = (
        environment.get(f"KLING_{name}", "").strip() for name in ("CALLBACK_SECRET", "RECORD_STORE", "WEBHOOK_SECRET")
    )
    if not secret or not record_store:
        raise KlingInputError(
            "KLING_CALLBACK_SECRET and KLING_RECORD_STORE must both be set, as callback_secret and record_store of the "
            "connection are; no callback is taken."
        )
    receiver = make_receiver(secret, record_store, webhook_secret, aws_conn_id=None)

    async def find(_: str) -> Receiver:
        return receiver

    return CallbackApp(find)


def __getattr__(name: str) -> Any:
    """Build ``app`` when an ASGI server asks for it; the command line builds its own."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault("app", create_app(os.environ))


def main(arguments: Sequence[str] | None = None) -> None:
    """Receive callbacks until SIGINT or SIGTERM."""
    options = argparse.ArgumentParser("python -m airflow_kling.callbacks", description="Receives Kling's callbacks.")
    options.add_argument("--host", default="127.0.0.1", help="address to bind (default %(default)s)")
    options.add_argument("--port", type=int, default=8898, help="TCP port, 0 for a free one (default %(default)s)")
    given = options.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    try:
        app = create_app(os.environ)
        listener = socket.create_server((given.host, given.port), family=_family(given.host), backlog=512)
    except KlingInputError as error:
        options.error(str(error))
    except OSError as error:
        options.exit(1, f"cannot listen on {given.host}:{given.port}: {error}\n")
    import uvicorn

    # Without a log of requests: their paths hold the tokens.
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False, limit_concurrency=512)
    host = f"[{given.host}]" if ":" in given.host else given.host
    print(f"Kling callback receiver listening on http://{host}:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run([listener])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


if __name__ == "__main__":
    main()
