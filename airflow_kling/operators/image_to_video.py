"""Generates a clip from a picture, which is its first frame: ``KlingImageToVideoOperator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.image_to_video import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingImageToVideoOperator(KlingGenerationOperator):
    """Submit an image-to-video generation to Kling: a picture begins to move; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    A clip takes some 3 minutes [W]. By the list price [W] a second costs $0.084 with ``kling-v3`` in 720p, $0.112 in
    1080p and $0.42 in 4k, with sound half as much again (none for 4k); 5 s of ``kling-v2-6`` or ``kling-v2-5-turbo``
    cost $0.21 in 720p, $0.35 in 1080p, 10 s twice that. A clip takes one slot of the video pack [C]. The picture
    decides the ratio.

    :param image: the first frame, ``shoes.output`` of an archive task too.
    :param image_tail: the last frame; with ``kling-v2-6`` in ``pro`` without sound only, with ``kling-v2-5-turbo`` in
        ``pro`` only [C].
    :param prompt: at most 2500 characters [C].
    :param model_name: the gateway's default when not given: ``kling-v3``; or ``kling-v2-6``, ``kling-v2-5-turbo``.
    :param negative_prompt: at most 2500 characters of what to leave out [C].
    :param mode: ``std`` (720p, default), ``pro`` (1080p), with ``kling-v3`` also ``4k`` [C].
    :param duration: seconds: ``"3"`` to ``"15"`` with ``kling-v3``, else ``"5"`` (default) or ``"10"`` [C].
    :param sound: ``on`` or ``off`` (default); ``kling-v2-6`` in ``pro`` only, ``kling-v2-5-turbo`` has none [C].
    :param cfg_scale: how close to the prompt, 0 to 1, the API's default is 0.5; not with ``kling-v2-6`` and
        ``kling-v2-5-turbo`` [C].
    :param multi_shot: a clip of several shots: needs ``shot_type``, and with it ``prompt`` or ``multi_prompt`` is void
        [C]; ``kling-v3`` only.
    :param shot_type: ``customize`` (``multi_prompt`` says what is in each shot) or ``intelligence`` (``prompt`` is
        divided) [C].
    :param multi_prompt: 1 to 6 shots, ``{"index": 1, "prompt": "at most 512 characters", "duration": "2"}``; the
        durations add up to ``duration`` [C].
    :param element_list: ids of elements of the account, ``[829836802793406551]`` or ``[{"element_id": ...}]``: numbers
        or texts of digits, kept whole; at most 3, ``kling-v3`` only, not with ``voice_list`` [C].
    :param voice_list: at most 2 voices, ``["id"]`` or ``[{"voice_id": "id"}]``, which the prompt names as
        ``<<<voice_1>>>``; ``kling-v2-6`` in ``pro`` with sound, at a dearer tariff [C].
    :param watermark_info: ``{"enabled": bool}``: results with a watermark as well [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **KlingGenerationOperator.template_fields_renderers,
        **dict.fromkeys(("multi_prompt", "element_list", "voice_list"), "json"),
    }

    def __init__(
        self,
        *,
        image: ReferenceImage,
        image_tail: ReferenceImage | None = None,
        prompt: str | None = None,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        mode: str = "std",
        duration: str = "5",
        sound: str | None = None,
        cfg_scale: float | str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        element_list: Sequence[int | str | Mapping[str, Any]] | str | None = None,
        voice_list: Sequence[str | Mapping[str, Any]] | str | None = None,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.image_tail = image_tail
        self.prompt = prompt
        self.model_name = model_name
        self.negative_prompt = negative_prompt
        self.mode = mode
        self.duration = duration
        self.sound = sound
        self.cfg_scale = cfg_scale
        self.multi_shot = multi_shot
        self.shot_type = shot_type
        self.multi_prompt = multi_prompt
        self.element_list = element_list
        self.voice_list = voice_list
        self.watermark_info = watermark_info
        self.check_fields()
