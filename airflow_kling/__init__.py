"""Provides Kling image and video generation for Apache Airflow."""

TYPE_CHECKING = False  # typing's own costs its import, in every process of Airflow
if TYPE_CHECKING:
    from airflow_kling.task_group import kling_generate, kling_image

__version__ = "0.1.0"
__all__ = ["__version__", "kling_generate", "kling_image"]


def __getattr__(name: str) -> object:
    """Import a task group once it is asked for."""
    if name not in ("kling_generate", "kling_image"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_kling import task_group

    return getattr(task_group, name)
