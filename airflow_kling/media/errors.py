"""Names what is wrong with an image or a video, as clauses that callers put into sentences of their own."""

from __future__ import annotations


class BrokenMedia(Exception):
    """Why a file is not whole, as a clause after "it is not whole"."""


class BrokenImage(BrokenMedia):
    """Why a file is not a whole image."""


class BrokenVideo(BrokenMedia):
    """Why a file is not a whole video."""


class OverLimit(BrokenMedia):
    """The file is over a limit, as a clause after "the image" or "the video"; it is so at every download."""


class TooManyPixels(OverLimit):
    """It has more pixels than the limit."""
