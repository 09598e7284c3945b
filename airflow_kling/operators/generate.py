"""Offers the multi-image-to-image operator under its first import path."""

from airflow_kling.operators.multi_image_to_image import KlingMultiImageToImageOperator

__all__ = ["KlingMultiImageToImageOperator"]
