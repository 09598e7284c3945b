"""Generates images, or a series of them, from a text that names images and elements: ``KlingOmniImageOperator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.omni_image import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingOmniImageOperator(KlingGenerationOperator):
    """Submit an omni image to Kling; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    An image takes some 40 s [C] and costs, by the list price, $0.028, at 4k $0.056 [C].

    :param prompt: at most 2500 characters; names what it refers to as ``<<<image_1>>>``, ``<<<element_1>>>`` [C].
    :param model_name: the gateway's default when not given: ``kling-image-o1``; or ``kling-v3-omni``.
    :param image_list: reference images, ``["a.png", {"image": "b.png"}]``; images and elements together at most 10 [C].
    :param element_list: ids of elements of the account, ``[829836802793406551]`` or ``[{"element_id": ...}]``: numbers
        or texts of digits, kept whole; multi-image elements only [C].
    :param resolution: ``1k`` (default), ``2k``, with ``kling-v3-omni`` also ``4k`` [C].
    :param result_type: ``single`` (default), or ``series`` for pictures that belong together, ``kling-v3-omni`` only
        [C].
    :param n: number of images, 1 to 9; each is billed, and takes one of the account's parallel slots until the end [C];
        void with ``series``.
    :param series_amount: pictures of a series, 2 to 9, or ``auto``; default 4 [C]. Each is billed and takes a slot.
    :param aspect_ratio: ``16:9``, ``9:16``, ``1:1``, ``4:3``, ``3:4``, ``3:2``, ``2:3``, ``21:9`` or ``auto``
        (default), which needs an image [C].
    :param watermark_info: ``{"enabled": bool}``: results with a watermark as well [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **KlingGenerationOperator.template_fields_renderers,
        **dict.fromkeys(("image_list", "element_list"), "json"),
    }

    def __init__(
        self,
        *,
        prompt: str,
        model_name: str | None = None,
        image_list: Sequence[ReferenceImage] | str | None = None,
        element_list: Sequence[int | str | Mapping[str, Any]] | str | None = None,
        resolution: str = "1k",
        result_type: str | None = None,
        n: int | str = 1,
        series_amount: int | str | None = None,
        aspect_ratio: str | None = None,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model_name = model_name
        self.image_list = image_list
        self.element_list = element_list
        self.resolution = resolution
        self.result_type = result_type
        self.n = n
        self.series_amount = series_amount
        self.aspect_ratio = aspect_ratio
        self.watermark_info = watermark_info
        self.check_fields()
