"""Generates a clip from a text: ``KlingTextToVideoOperator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_kling.api.routes.text_to_video import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator


class KlingTextToVideoOperator(KlingGenerationOperator):
    """Submit a text-to-video generation to Kling; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`.

    A clip takes some 5 minutes [W]. By the list price [W] a second costs $0.084 with ``kling-v3`` in 720p, $0.112 in
    1080p and $0.42 in 4k, with sound half as much again (none for 4k); 5 s of ``kling-v2-6`` or ``kling-v2-5-turbo``
    cost $0.21 in 720p, $0.35 in 1080p, 10 s twice that. A clip takes one slot of the video pack [C].

    :param prompt: at most 2500 characters; required but with ``shot_type="customize"`` [C].
    :param model_name: the gateway's default when not given: ``kling-v3``; or ``kling-v2-6``, ``kling-v2-5-turbo``.
    :param negative_prompt: at most 2500 characters of what to leave out [C].
    :param mode: ``std`` (720p, default), ``pro`` (1080p), with ``kling-v3`` also ``4k`` [C].
    :param duration: seconds: ``"3"`` to ``"15"`` with ``kling-v3``, else ``"5"`` (default) or ``"10"`` [C].
    :param aspect_ratio: ``16:9`` (default), ``9:16`` or ``1:1`` [C].
    :param sound: ``on`` or ``off`` (default); ``kling-v2-6`` in ``pro`` only, ``kling-v2-5-turbo`` has none [C].
    :param cfg_scale: how close to the prompt, 0 to 1, the API's default is 0.5; not with ``kling-v2-6`` and
        ``kling-v2-5-turbo`` [C].
    :param multi_shot: a clip of several shots: needs ``shot_type``, and with it ``prompt`` or ``multi_prompt`` is void
        [C]; ``kling-v3`` only.
    :param shot_type: ``customize`` (``multi_prompt`` says what is in each shot) or ``intelligence`` (``prompt`` is
        divided) [C].
    :param multi_prompt: 1 to 6 shots, ``{"index": 1, "prompt": "at most 512 characters", "duration": "2"}``; the
        durations add up to ``duration`` [C].
    :param watermark_info: ``{"enabled": bool}``: results with a watermark as well [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **KlingGenerationOperator.template_fields_renderers,
        **dict.fromkeys(("multi_prompt",), "json"),
    }

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        mode: str = "std",
        duration: str = "5",
        aspect_ratio: str = "16:9",
        sound: str | None = None,
        cfg_scale: float | str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model_name = model_name
        self.negative_prompt = negative_prompt
        self.mode = mode
        self.duration = duration
        self.aspect_ratio = aspect_ratio
        self.sound = sound
        self.cfg_scale = cfg_scale
        self.multi_shot = multi_shot
        self.shot_type = shot_type
        self.multi_prompt = multi_prompt
        self.watermark_info = watermark_info
        self.check_fields()
