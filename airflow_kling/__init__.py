"""Provides Kling image generation for Apache Airflow."""

TYPE_CHECKING = False  # typing's own costs its import, in every process of Airflow
if TYPE_CHECKING:
    from airflow_kling.task_group import kling_image

__version__ = "0.1.0"
__all__ = ["__version__", "kling_image"]


def __getattr__(name: str) -> object:
    """Import ``kling_image`` once it is asked for."""
    if name != "kling_image":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_kling.task_group import kling_image

    return kling_image
