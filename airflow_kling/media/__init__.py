"""Verifies media: bytes become what they are, or a reason why not."""
