"""Dresses a person in a garment: ``KlingVirtualTryOnOperator``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.virtual_try_on import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingVirtualTryOnOperator(KlingGenerationOperator):
    """Submit a virtual try-on to Kling: a person in a garment; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    It takes 20 to 30 s [W], costs $0.07 by the list price [W] and takes one slot of the try-on pack [C]. A picture
    without a person fails with "there is no human in the video" [W]; so do two tops, two bottoms, and a dress with
    anything [C].

    :param human_image: the person. Of both images any ratio, else as every reference image [C].
    :param cloth_image: the garment: a product photo or one on white; an upper, a lower or a dress, with
        ``kolors-virtual-try-on-v1-5`` also a top and a bottom in one picture [C].
    :param model_name: the gateway's default when not given: ``kolors-virtual-try-on-v1``; or
        ``kolors-virtual-try-on-v1-5`` [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)

    def __init__(
        self,
        *,
        human_image: ReferenceImage,
        cloth_image: ReferenceImage,
        model_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.human_image = human_image
        self.cloth_image = cloth_image
        self.model_name = model_name
        self.check_fields()
