"""The stores of these tests."""

from tests.integration.stores import place, s3, s3_endpoint

__all__ = ["place", "s3", "s3_endpoint"]
