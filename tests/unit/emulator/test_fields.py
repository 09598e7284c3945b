"""The rules of single fields: what they accept, the values they make, what the ledger shows."""

from __future__ import annotations

import pytest

from airflow_kling.emulator.errors import ApiError
from airflow_kling.emulator.fields import (
    choice,
    image,
    images,
    references_in,
    required,
    text,
    watermark,
    web_address,
    whole,
    without_bytes,
)
from airflow_kling.emulator.references import Reference, ReferenceStore
from tests.unit.emulator.calls import b64, picture

STORE = ReferenceStore()
URL = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("rule", "value", "checked"),
    [
        (text(2), "ab", "ab"),
        (text(2), None, ""),
        (choice("x", "y"), None, "x"),
        (choice("x", "y"), "y", "y"),
        (whole(1, 9), None, 1),
        (whole(1, 9), 9, 9),
        (image, None, None),
        (image, "", None),
        (image, URL, Reference(url=URL)),
        (images("i", 0, 2), None, []),
        (images("i", 1, 2), [{"i": URL, "type": "end"}], [{"i": Reference(url=URL), "type": "end"}]),
        (web_address, None, ""),
        (web_address, "http://x", "http://x"),
        (watermark, None, False),
        (watermark, {"enabled": True}, True),
    ],
)
def test_accepted(rule, value, checked):
    assert rule("field", value, STORE) == checked


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (required(text(2)), None, "field is required"),
        (required(text(2)), "", "field is required"),
        (text(2), "abc", "field is longer than 2 characters"),
        (text(2), 5, "field must be a string"),
        (choice("x"), "", "field value '' is invalid"),
        (whole(1, 9), 10, "field must be a whole number from 1 to 9"),
        (whole(0, 1), True, "field must be a whole number from 0 to 1"),
        (image, 5, "field must be a URL or base64 text"),
        (image, "data:image/png;base64,AAAA", "File is not in a valid base64 format"),
        (images("i", 1, 2), {}, "field must be a list"),
        (images("i", 1, 2), [], "field must have 1 to 2 images, not 0"),
        (images("i", 1, 2), [URL], "field[0] must be an object with i"),
        (images("i", 1, 2), [{"i": URL}, {"j": URL}], "field[1].i is required"),
        (web_address, "ftp://x", "field must be an http or https URL"),
        (watermark, {"enabled": 1}, "field must be an object with a boolean 'enabled'"),
    ],
)
def test_refused(rule, value, message):
    with pytest.raises(ApiError) as refused:
        rule("field", value, STORE)
    assert (refused.value.status, refused.value.code, refused.value.message) == (400, 1201, message)


def test_images_are_found_and_shown_without_their_bytes():
    checked = images("i", 1, 2)("field", [{"i": b64(picture())}, {"i": URL, "type": "end"}], STORE)
    inline, linked = references_in({"list": checked, "n": 2})
    assert (linked.url, inline.size) == (URL, len(picture()))
    assert without_bytes(checked) == [
        {"i": {"sha256": inline.sha256, "bytes": len(picture())}},
        {"i": URL, "type": "end"},
    ]
