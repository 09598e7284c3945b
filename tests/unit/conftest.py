"""Property tests without a time limit per example: a busy machine must not fail them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kling", deadline=None)
settings.load_profile("kling")
