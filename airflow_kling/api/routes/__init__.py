"""Names the generations that Kling can make, each by its route."""

from __future__ import annotations

DEFAULT_ROUTE = "multi-image-to-image"  # of what was stored without a route
