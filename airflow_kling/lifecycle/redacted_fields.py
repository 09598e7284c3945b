"""Keeps rendered reference media and callback URLs aside: Airflow stores and shows a task's fields as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from airflow_kling.api.route import Route


class RedactedFieldsMixin:
    """An operator whose media fields and ``callback_url`` are shown without signatures, tokens and payloads."""

    kling_route: ClassVar[Route]
    #: What these fields are, as rendered.
    _rendered: Mapping[str, Any] = MappingProxyType({})

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Render, then keep the values aside.

        Airflow calls this one, and not ``render_template_fields``, for mapped tasks too.
        """
        render = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:
            render(parent, *args, **kwargs)
            return
        from airflow_kling.api.redact import redact_callback, redact_media

        for name, value in self._rendered.items():  # of an earlier rendering
            setattr(self, name, value)
        render(parent, *args, **kwargs)
        shown = {**dict.fromkeys(self.kling_route.media, redact_media), "callback_url": redact_callback}
        self._rendered = {name: getattr(self, name) for name in shown}
        for name, redact in shown.items():
            setattr(self, name, redact(self._rendered[name]))
