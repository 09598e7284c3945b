"""Describes where a Kling API lives, how it signs, and what it can be asked: data, one object per gateway.

Which routes a gateway has, and how it spells them, is in :mod:`airflow_kling.api.routes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Gateway:
    """One way to reach Kling.

    :param name: value of the connection extra ``gateway``.
    :param base_url: scheme and host used when the connection names none.
    :param has_list: ``GET`` of a route's path with ``?pageNum=&pageSize=`` lists the account's tasks, newest first.
    :param finds_external_ids: a query by ``external_task_id`` in place of the task id finds the task.
    :param refuses_duplicates: a second task with the same ``external_task_id`` is refused ("must be unique per
        account" [seed]).
    :param signs_jwt: an AccessKey/SecretKey pair may take the place of the API key.
    :param models: model names by route in place of those that :mod:`airflow_kling.api.routes` knows, the default first;
        under ``*`` for every route. Models come and go faster than releases.
    """

    name: str
    base_url: str
    has_list: bool = False
    finds_external_ids: bool = False
    refuses_duplicates: bool = True
    signs_jwt: bool = False
    models: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), hash=False)


COMETAPI = Gateway(name="cometapi", base_url="https://api.cometapi.com")  # [seed]

COMETAPI_V2 = Gateway(name="cometapi-v2", base_url="https://api.cometapi.com")  # [C]

OFFICIAL = Gateway(
    name="official",
    base_url="https://api-singapore.klingai.com",  # [C]; China: https://api-beijing.klingai.com
    has_list=True,
    finds_external_ids=True,
    signs_jwt=True,
)

GATEWAYS = {gateway.name: gateway for gateway in (COMETAPI, COMETAPI_V2, OFFICIAL)}
DEFAULT_GATEWAY = COMETAPI
