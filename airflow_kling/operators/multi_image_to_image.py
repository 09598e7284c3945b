"""Generates images from several reference images: ``KlingMultiImageToImageOperator``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingMultiImageToImageOperator(KlingGenerationOperator):
    """Submit a multi-image-to-image generation to Kling; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    :param subject_images: 1 to 4 reference images; CometAPI's default gateway takes 2 to 4.
    :param prompt: at most 2500 characters.
    :param model_name: the gateway's default when not given: ``kling-v2``, on ``official`` ``kling-v2-1``.
    :param scene_image: one reference image for the scene.
    :param style_image: one reference image for the style.
    :param n: number of images, 1 to 9; each is billed, and takes one of the account's parallel slots until the end.
    :param aspect_ratio: ``16:9`` (default), ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3`` or ``21:9``.
    :param negative_prompt: at most 2500 characters; not on CometAPI's default gateway.
    :param watermark_info: ``{"enabled": bool}``; not on CometAPI's default gateway.
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **KlingGenerationOperator.template_fields_renderers,
        "subject_images": "json",
    }

    def __init__(
        self,
        *,
        subject_images: Sequence[ReferenceImage] | str,
        prompt: str | None = None,
        model_name: str | None = None,
        scene_image: ReferenceImage | None = None,
        style_image: ReferenceImage | None = None,
        n: int | str = 1,
        aspect_ratio: str = "16:9",
        negative_prompt: str | None = None,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subject_images = subject_images
        self.prompt = prompt
        self.model_name = model_name
        self.scene_image = scene_image
        self.style_image = style_image
        self.n = n
        self.aspect_ratio = aspect_ratio
        self.negative_prompt = negative_prompt
        self.watermark_info = watermark_info
        self.check_fields()
