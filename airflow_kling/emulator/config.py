"""Defines an emulator's settings: plain data, standard library only."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

DEFAULT_API_KEY = "kling-emulator-key"
DEFAULT_ACCESS_KEY = "kling-emulator-access"
DEFAULT_SECRET_KEY = "kling-emulator-secret-0123456789abcdef"

THIRTY_DAYS = 30 * 24 * 3600.0
"""Seconds after which Kling deletes results [C]."""

IMAGE_FORMATS = ("png", "jpeg", "webp")


@dataclass(frozen=True)
class Account:
    """A customer of the emulated API.

    :param name: its name in the ledger
    :param api_key: bearer token, accepted by every gateway
    :param access_key: ``iss`` of the JWT that the ``official`` gateway also accepts; None for an account without one
    :param secret_key: HS256 secret of that JWT
    """

    name: str
    api_key: str
    access_key: str | None = None
    secret_key: str | None = None


DEFAULT_ACCOUNT = Account("default", DEFAULT_API_KEY, DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY)


@dataclass(frozen=True)
class Duration:
    """How long a task takes from creation to its end.

    :param median: seconds; with ``sigma`` 0 every task takes exactly this long
    :param sigma: standard deviation of the logarithm of the seconds
    """

    median: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not self.median >= 0 or not self.sigma >= 0 or (self.sigma and not self.median):
            raise ValueError(f"not a duration: median {self.median}, sigma {self.sigma}")

    def times(self, factor: float) -> Duration:
        """A duration that is longer by this factor."""
        return Duration(self.median * factor, self.sigma)

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read ``"8"`` (seconds) or ``"lognormal:MEDIAN:SIGMA"``."""
        kind, *numbers = text.split(":")
        if kind == "lognormal" and len(numbers) == 2:
            return cls(float(numbers[0]), float(numbers[1]))
        return cls(float(text))

    def seconds(self, task_id: str) -> float:
        """Seconds that this task takes: always the same answer for the same id."""
        if not self.sigma:
            return self.median
        # Drawn from the id, so that a run can be repeated.
        return random.Random(task_id).lognormvariate(math.log(self.median), self.sigma)


@dataclass(frozen=True)
class EmulatorConfig:
    """All settings of an emulator.

    :param host: address to bind; keep it on loopback, the control endpoints need no authentication
    :param port: TCP port, 0 for a free one
    :param allowed_hosts: names by which clients call it, beside ``localhost``, ``host`` and that of ``public_url``
    :param accounts: who may call; every other key is refused
    :param duration: how long tasks take
    :param video_duration: how long those of videos take; None for as long as the others
    :param concurrency: slots per account, an unfinished task holds ``n`` of them; None for no limit
    :param url_ttl: seconds until the signed URL of a result expires; every query signs anew
    :param retention: seconds after its creation until a task and its results are gone
    :param allow_duplicate_external_ids: do not refuse a second task with the same ``external_task_id``
    :param sparse: leave out the optional fields of answers on the CometAPI gateways
    :param wrapped: answer queries on the CometAPI gateways in the wrapped envelope
    :param image_size: long side of result images in pixels
    :param image_format: ``png``, ``jpeg`` or ``webp``
    :param fetch_references: download references given as URL; a task whose reference cannot be had then fails
    :param public_url: base of result URLs, where clients see another address than the ``Host`` header they send
    :param webhook_secret: ``whsec_`` and base64; callbacks are signed with it (Standard Webhooks)
    :param access_log: log every request to standard error
    :param clock: Unix time in seconds; tests pass their own
    """

    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = (DEFAULT_ACCOUNT,)
    duration: Duration = field(default_factory=lambda: Duration(8.0))
    video_duration: Duration | None = None
    concurrency: int | None = None
    url_ttl: float = THIRTY_DAYS
    retention: float = THIRTY_DAYS
    allow_duplicate_external_ids: bool = False
    sparse: bool = False
    wrapped: bool = False
    image_size: int = 1024
    image_format: str = "png"
    fetch_references: bool = True
    public_url: str | None = None
    webhook_secret: str | None = None
    access_log: bool = False
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if self.image_format not in IMAGE_FORMATS:
            raise ValueError(f"image_format must be one of {', '.join(IMAGE_FORMATS)}, not {self.image_format!r}")
        if not 16 <= self.image_size <= 8192:
            raise ValueError(f"image_size must be 16..8192 pixels, not {self.image_size}")
        if not self.accounts:
            raise ValueError("an emulator needs at least one account")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")
