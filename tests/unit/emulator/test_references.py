"""Which reference images are good, and which copies are kept."""

from __future__ import annotations

import pytest

from airflow_kling.emulator.references import NotAnImage, ReferenceStore, size_problem
from tests.unit.emulator.calls import picture


@pytest.mark.parametrize(
    ("size", "good"),
    [((300, 300), True), ((299, 300), False), ((300, 299), False), ((750, 300), True), ((751, 300), False)],
)
def test_sizes(size, good):
    assert size_problem(*size) == (None if good else "Image pixel is invalid")


def test_the_last_images_are_kept_once_each():
    store = ReferenceStore(kept=2)
    red, blue = store.admit(picture(colour="red")), store.admit(picture(colour="blue"))
    assert store.admit(picture(colour="red")) == red
    store.admit(picture(colour="green"))
    assert store.image(red.sha256) is not None
    assert store.image(blue.sha256) is None
    assert store.image(None) is None


def test_a_small_image_is_admitted_with_its_problem():
    assert ReferenceStore().admit(picture(20, 20)).problem == "Image pixel is invalid"


@pytest.mark.parametrize("data", [b"", b"hello", picture()[:-30], picture(kind="GIF")])
def test_other_bytes_are_no_image(data):
    with pytest.raises(NotAnImage, match="only JPEG and PNG"):
        ReferenceStore().admit(data)
