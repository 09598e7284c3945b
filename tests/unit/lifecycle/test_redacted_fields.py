"""Fields with secrets are shown without them, also within the objects of a list."""

from __future__ import annotations

from airflow_kling.lifecycle.redacted_fields import redact_media


def test_references_within_objects_are_redacted() -> None:
    value = [{"image_url": "https://h/a.png?token=s", "type": "first_frame"}, b"\x89PNG", "iVBORw0KGgoAAAA"]
    assert redact_media(value) == [
        {"image_url": "https://h/a.png", "type": "first_frame"},
        "<4 bytes>",
        "<15 characters>",
    ]
    assert redact_media("[{'video_url': 'https://h/a.mp4?token=s'}]") == [{"video_url": "https://h/a.mp4"}]
