"""Offers the operators of all routes under one import path; each is imported once it is asked for."""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from airflow_kling.operators.image_expansion import KlingExpandImageOperator
    from airflow_kling.operators.image_generation import KlingImageGenerationOperator
    from airflow_kling.operators.image_to_video import KlingImageToVideoOperator
    from airflow_kling.operators.multi_image_to_image import KlingMultiImageToImageOperator
    from airflow_kling.operators.omni_image import KlingOmniImageOperator
    from airflow_kling.operators.omni_video import KlingOmniVideoOperator
    from airflow_kling.operators.text_to_video import KlingTextToVideoOperator
    from airflow_kling.operators.virtual_try_on import KlingVirtualTryOnOperator

__all__ = [
    "KlingExpandImageOperator",
    "KlingImageGenerationOperator",
    "KlingImageToVideoOperator",
    "KlingMultiImageToImageOperator",
    "KlingOmniImageOperator",
    "KlingOmniVideoOperator",
    "KlingTextToVideoOperator",
    "KlingVirtualTryOnOperator",
]

_MODULES = {
    "KlingExpandImageOperator": "image_expansion",
    "KlingImageGenerationOperator": "image_generation",
    "KlingImageToVideoOperator": "image_to_video",
    "KlingMultiImageToImageOperator": "multi_image_to_image",
    "KlingOmniImageOperator": "omni_image",
    "KlingOmniVideoOperator": "omni_video",
    "KlingTextToVideoOperator": "text_to_video",
    "KlingVirtualTryOnOperator": "virtual_try_on",
}


def __getattr__(name: str) -> object:
    """Import an operator's own module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"airflow_kling.operators.{_MODULES[name]}"), name)
