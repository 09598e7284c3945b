"""Generates images from a text, or from a text and one image: ``KlingImageGenerationOperator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.image_generation import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingImageGenerationOperator(KlingGenerationOperator):
    """Submit an image generation to Kling, from a text or a text and one image; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    An image takes some 30 s [W] and costs, by the list price, $0.028 with ``kling-v3``, with ``kling-v2-1`` $0.014 from
    a text alone and $0.028 with an image [C].

    :param prompt: at most 2500 characters [C].
    :param model_name: the gateway's default when not given: ``kling-v3``; or ``kling-v2-1``.
    :param negative_prompt: at most 2500 characters of what to leave out; not together with ``image`` [C].
    :param image: one reference image.
    :param image_reference: what of ``image`` is kept: ``subject`` or ``face`` (exactly one face in it); ``kling-v2-1``
        only [C].
    :param image_fidelity: how close to ``image``, 0 to 1, the API's default is 0.5; ``kling-v2-1`` only [C].
    :param human_fidelity: how close to the person, 0 to 1, the API's default is 0.45; with ``subject`` only [C].
    :param element_list: ids of elements of the account, ``[829836802793406551]`` or ``[{"element_id": ...}]``: numbers
        or texts of digits, kept whole; ``kling-v3`` only, elements and images together at most 10 [C].
    :param resolution: ``1k`` (default) or ``2k`` [C].
    :param n: number of images, 1 to 9; each is billed, and takes one of the account's parallel slots until the end [C].
    :param aspect_ratio: ``16:9`` (default), ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3`` or ``21:9`` [C].
    :param watermark_info: ``{"enabled": bool}``: results with a watermark as well [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **KlingGenerationOperator.template_fields_renderers,
        **dict.fromkeys(("element_list",), "json"),
    }

    def __init__(
        self,
        *,
        prompt: str,
        model_name: str | None = None,
        negative_prompt: str | None = None,
        image: ReferenceImage | None = None,
        image_reference: str | None = None,
        image_fidelity: float | str | None = None,
        human_fidelity: float | str | None = None,
        element_list: Sequence[int | str | Mapping[str, Any]] | str | None = None,
        resolution: str = "1k",
        n: int | str = 1,
        aspect_ratio: str = "16:9",
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model_name = model_name
        self.negative_prompt = negative_prompt
        self.image = image
        self.image_reference = image_reference
        self.image_fidelity = image_fidelity
        self.human_fidelity = human_fidelity
        self.element_list = element_list
        self.resolution = resolution
        self.n = n
        self.aspect_ratio = aspect_ratio
        self.watermark_info = watermark_info
        self.check_fields()
