"""Generates a clip from a text that names images, elements and a video: ``KlingOmniVideoOperator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.omni_video import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingOmniVideoOperator(KlingGenerationOperator):
    """Submit an omni video to Kling; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    A clip takes some 3 to 5 minutes [W]. By the list price [W] a second costs $0.084 in ``std`` and $0.112 in ``pro``,
    with a video given $0.126 and $0.168; it takes one slot of the video pack [C].

    :param prompt: at most 2500 characters; names what it refers to as ``<<<image_1>>>``, ``<<<element_1>>>``,
        ``<<<video_1>>>``; required but with ``shot_type="customize"`` [C].
    :param model_name: the gateway's default when not given: ``kling-video-o1``; or ``kling-v3-omni``.
    :param image_list: reference images, ``["a.png", {"image_url": "b.png", "type": "first_frame"}]``; ``type`` may be
        ``end_frame`` too, beside a first frame. Images and elements together at most 7, with a video at most 4 [C].
    :param element_list: ids of elements of the account, ``[829836802793406551]`` or ``[{"element_id": ...}]``: numbers
        or texts of digits, kept whole; at most 3 with a first frame [W].
    :param video_list: one video, ``[{"video_url": ref, "refer_type": "feature", "keep_original_sound": "yes"}]``;
        ``feature`` takes its style or motion, ``base`` edits it. Kling takes URLs only: of an object in S3 a signed one
        is made [C].
    :param mode: ``pro`` (default), ``std``, with ``kling-v3-omni`` also ``4k`` [C].
    :param aspect_ratio: ``16:9``, ``9:16`` or ``1:1``; required without a first frame and without a video to edit [C].
    :param duration: seconds, 5 when not given: ``"3"`` to ``"10"`` with ``kling-video-o1`` (of a text or a first frame
        ``"5"`` or ``"10"``), to ``"15"`` with ``kling-v3-omni``; void with a video to edit [C].
    :param sound: ``on`` or ``off`` (default); ``kling-v3-omni`` without a video [C].
    :param multi_shot: a clip of several shots: needs ``shot_type``, and with it ``prompt`` or ``multi_prompt`` is void
        [C]; ``kling-v3-omni`` only.
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
        **dict.fromkeys(("image_list", "element_list", "video_list", "multi_prompt"), "json"),
    }

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model_name: str | None = None,
        image_list: Sequence[ReferenceImage] | str | None = None,
        element_list: Sequence[int | str | Mapping[str, Any]] | str | None = None,
        video_list: Sequence[ReferenceImage] | str | None = None,
        mode: str = "pro",
        aspect_ratio: str | None = None,
        duration: str | None = None,
        sound: str | None = None,
        multi_shot: bool | str | None = None,
        shot_type: str | None = None,
        multi_prompt: Sequence[Mapping[str, Any]] | str | None = None,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model_name = model_name
        self.image_list = image_list
        self.element_list = element_list
        self.video_list = video_list
        self.mode = mode
        self.aspect_ratio = aspect_ratio
        self.duration = duration
        self.sound = sound
        self.multi_shot = multi_shot
        self.shot_type = shot_type
        self.multi_prompt = multi_prompt
        self.watermark_info = watermark_info
        self.check_fields()
