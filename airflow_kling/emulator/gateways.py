"""Lists the gateways: where each one's paths begin, and whether Kling itself answers there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gateway:
    """One way to reach Kling.

    :param name: as in the ``gateway`` extra of a connection
    :param prefix: what every path begins with
    :param official: True for Kling itself (its error bodies, JWT, lists), False for CometAPI in front of it
    """

    name: str
    prefix: str
    official: bool = False


COMETAPI = Gateway("cometapi", "/kling/v1/")
COMETAPI_V2 = Gateway("cometapi-v2", "/kling/v1/")
OFFICIAL = Gateway("official", "/v1/", official=True)

# The paging of lists, which only the official gateway has [C].
MAX_PAGE_NUM = 1000
MAX_PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 30
