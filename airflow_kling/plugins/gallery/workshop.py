"""Keeps what the gallery's slow work shares: storages, processes, downloads, and what they have found out."""

from __future__ import annotations

from anyio.lowlevel import RunVar

from airflow_kling.plugins.gallery.image_pool import ImagePool
from airflow_kling.plugins.gallery.storages import Storages
from airflow_kling.plugins.gallery.verdicts import Verdicts
from airflow_kling.plugins.gallery.videos import Videos


class Workshop:
    """The parts, of one event loop."""

    def __init__(self) -> None:
        self.storages = Storages()
        self.images = ImagePool()
        self.videos = Videos(self.storages)
        self.verdicts = Verdicts()


# Semaphores and sockets belong to the event loop in which they are used.
_workshop: RunVar[Workshop] = RunVar("kling_gallery_workshop")


def workshop() -> Workshop:
    """Return that of the running event loop."""
    try:
        return _workshop.get()
    except LookupError:
        made = Workshop()
        _workshop.set(made)
        return made
