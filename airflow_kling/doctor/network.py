"""Checks the way to the API: DNS, proxy, TLS, key, gateways and clock. Nothing here costs money."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_kling.api.error_table import moment
from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.doctor.findings import Finding, fail, note, ok
from airflow_kling.doctor.transcript import Transcript
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingBadRequestError,
    KlingConnectionError,
    KlingError,
    KlingPermissionError,
    KlingTaskNotFoundError,
)

if TYPE_CHECKING:
    from airflow_kling.api.client import KlingClient
    from airflow_kling.api.connection import Settings

MAX_SKEW = 60.0  # seconds; a token of the official gateway lives half an hour, a signed URL may live less


def base_url_of(settings: Settings) -> str:
    """Return where the connection leads."""
    return (settings.host or settings.api.base_url).rstrip("/")


def check_dns(settings: Settings) -> Iterator[Finding]:
    """Resolve the host of the API."""
    host = urlsplit(base_url_of(settings)).hostname or ""
    try:
        addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:  # the latter of a name that IDNA refuses
        where = "the proxy has to" if settings.proxy else "check the host, or name a proxy in the connection"
        found = note if settings.proxy else fail
        yield found("DNS", f"{host} does not resolve here ({error}); {where}.")
        return
    yield ok("DNS", f"{host} is {', '.join(addresses[:4])}.")


def check_gateways(settings: Settings, transcript: Transcript) -> Iterator[Finding]:
    """Ask for a task that cannot exist, on each gateway that lives at the connection's base URL.

    A key goes to that host only: other hosts belong to somebody else.
    """
    base_url = base_url_of(settings)
    for name, gateway in GATEWAYS.items():
        if settings.host or gateway.base_url == base_url:
            asked = settings.model_copy(update={"gateway": name})
            yield _check_gateway(asked, transcript, is_ours=name == settings.gateway)


def _check_gateway(settings: Settings, transcript: Transcript, *, is_ours: bool) -> Finding:
    subject = f"gateway {settings.gateway}" if not is_ours else "key"
    bad = fail if is_ours else note
    try:
        with make_client(settings, transcript) as client:
            client.get(f"airflow-doctor-{secrets.token_hex(8)}", route=DEFAULT_ROUTE, deadline=0)
    except (KlingTaskNotFoundError, KlingBadRequestError):
        return ok(subject, f"Gateway {settings.gateway} answers and accepts the key.")
    except (KlingAuthenticationError, KlingPermissionError) as error:
        return bad(subject, str(error))
    except KlingConnectionError as error:
        transcript.note(str(error))
        return bad(subject, f"{error} Check host, proxy and firewall.")
    except KlingError as error:
        return bad(subject, f"Gateway {settings.gateway} does not answer as it should: {error}")
    return note(subject, f"Gateway {settings.gateway} knows a task that cannot exist, which is odd.")


def make_client(settings: Settings, transcript: Transcript) -> KlingClient:
    """Make a client whose exchanges go into the transcript."""
    from airflow_kling.api.client import KlingClient

    options = settings.client_options()
    return KlingClient(settings.auth(), on_answer=transcript.record, callback_url=settings.callback_url, **options)


def check_clock(transcript: Transcript, now: float | None = None) -> Iterator[Finding]:
    """Compare this machine's clock with the API's ``Date``."""
    now = time.time() if now is None else now
    if not transcript.dates:
        return
    there = moment(transcript.dates[-1])
    if there is None:
        yield note("clock", "The API's Date header cannot be read.")
        return
    skew = there - now
    if abs(skew) > MAX_SKEW:
        yield fail("clock", f"This machine's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead'}: set it.")
    else:
        yield ok("clock", f"Within {abs(skew):.0f} s of the API's.")
