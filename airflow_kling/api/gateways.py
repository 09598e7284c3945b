"""Where a Kling API lives and how it spells things: data, one object per gateway.

Nothing here was read from a live API: each route and limit names its source. ``[seed]`` is the CometAPI page that the
project was started with, ``[C]`` an official or CometAPI page, ``[I]`` inferred from one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gateway:
    """One way to reach Kling.

    :param name: value of the connection extra ``gateway``.
    :param base_url: scheme and host used when the connection names none.
    :param tasks_path: ``POST`` here creates a task; ``GET`` with ``/{task_id}`` behind it queries one.
    :param models: accepted ``model_name`` values, the default first.
    :param min_subjects: least number of subject images.
    :param max_subjects: greatest number of subject images.
    :param scene_field: how the body spells the scene image.
    :param extra_fields: body fields that only some gateways take.
    :param has_list: ``GET tasks_path?pageNum=&pageSize=`` lists the account's tasks, newest first.
    :param finds_external_ids: a query by ``external_task_id`` in place of the task id finds the task.
    :param refuses_duplicates: a second task with the same ``external_task_id`` is refused ("must be unique per
        account" [seed]).
    :param signs_jwt: an AccessKey/SecretKey pair may take the place of the API key.
    """

    name: str
    base_url: str
    tasks_path: str
    models: tuple[str, ...]
    min_subjects: int
    max_subjects: int
    scene_field: str
    extra_fields: frozenset[str] = frozenset()
    has_list: bool = False
    finds_external_ids: bool = False
    refuses_duplicates: bool = True
    signs_jwt: bool = False


COMETAPI = Gateway(
    name="cometapi",
    base_url="https://api.cometapi.com",
    tasks_path="/kling/v1/images/generations",  # [seed]; the query route behind it [I]
    models=("kling-v2",),  # [seed]
    min_subjects=2,  # [seed]
    max_subjects=4,
    scene_field="scence_image",  # sic [seed]
)

COMETAPI_V2 = Gateway(
    name="cometapi-v2",
    base_url="https://api.cometapi.com",
    tasks_path="/kling/v1/images/multi-image2image",  # [C]
    models=("kling-v2", "kling-v2-1"),
    min_subjects=1,
    max_subjects=4,
    scene_field="scene_image",
    extra_fields=frozenset({"negative_prompt", "watermark_info"}),
)

OFFICIAL = Gateway(
    name="official",
    base_url="https://api-singapore.klingai.com",  # [C]; China: https://api-beijing.klingai.com
    tasks_path="/v1/images/multi-image2image",
    models=("kling-v2-1", "kling-v2"),  # kling-v2 on older pages only [C]
    min_subjects=1,
    max_subjects=4,
    scene_field="scene_image",
    extra_fields=frozenset({"negative_prompt", "watermark_info"}),
    has_list=True,
    finds_external_ids=True,
    signs_jwt=True,
)

GATEWAYS = {gateway.name: gateway for gateway in (COMETAPI, COMETAPI_V2, OFFICIAL)}
DEFAULT_GATEWAY = COMETAPI
