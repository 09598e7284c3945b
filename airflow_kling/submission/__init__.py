"""Submits a generation once, or adopts the one that exists."""
