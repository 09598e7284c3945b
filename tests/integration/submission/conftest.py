"""The store of these tests."""

from tests.integration.stores import s3, s3_endpoint

__all__ = ["s3", "s3_endpoint"]
