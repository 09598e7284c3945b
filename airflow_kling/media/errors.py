"""Names what is wrong with an image, as clauses that callers put into sentences of their own."""

from __future__ import annotations


class BrokenImage(Exception):
    """Why a file is not a whole image, as a clause after "it is not whole"."""


class OverLimit(BrokenImage):
    """The image is over a limit, as a clause after "the image"; it is so at every download."""


class TooManyPixels(OverLimit):
    """The image has more pixels than the limit, as a clause after "the image"."""
