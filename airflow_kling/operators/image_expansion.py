"""Expands an image beyond its borders: ``KlingExpandImageOperator``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes.image_expansion import ROUTE
from airflow_kling.operators.base import KlingGenerationOperator

if TYPE_CHECKING:
    from airflow_kling.operators.base import ReferenceImage


class KlingExpandImageOperator(KlingGenerationOperator):
    """Submit an image expansion to Kling: a picture goes on beyond its borders; return the Kling task id.

    What is common to all routes, and the parameters for it, is at
    :class:`~airflow_kling.operators.base.KlingGenerationOperator`; there is also what a reference image may be.

    An image costs $0.028 by the list price [C]; how long it takes is not known [U].

    The expanded picture has at most 3 times the area: (1 + up + down) * (1 + left + right) <= 3 [C].

    :param image: the picture.
    :param up_expansion_ratio: 0 to 2, of the picture's height [C].
    :param down_expansion_ratio: 0 to 2, of the picture's height [C].
    :param left_expansion_ratio: 0 to 2, of the picture's width [C].
    :param right_expansion_ratio: 0 to 2, of the picture's width [C].
    :param prompt: at most 2500 characters of what to see there [C].
    :param n: number of images, 1 to 9; each is billed, and takes one of the account's parallel slots until the end [C].
    :param watermark_info: ``{"enabled": bool}``: results with a watermark as well [C].
    """

    kling_route = ROUTE
    template_fields: Sequence[str] = (*ROUTE.fields, *KlingGenerationOperator.template_fields)

    def __init__(
        self,
        *,
        image: ReferenceImage,
        up_expansion_ratio: float | str,
        down_expansion_ratio: float | str,
        left_expansion_ratio: float | str,
        right_expansion_ratio: float | str,
        prompt: str | None = None,
        n: int | str = 1,
        watermark_info: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.up_expansion_ratio = up_expansion_ratio
        self.down_expansion_ratio = down_expansion_ratio
        self.left_expansion_ratio = left_expansion_ratio
        self.right_expansion_ratio = right_expansion_ratio
        self.prompt = prompt
        self.n = n
        self.watermark_info = watermark_info
        self.check_fields()
