"""Tells OpenLineage what a generation was made of: a mixin of the operators of all routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_kling.reporting import lineage, xcom

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_kling.api.route import Route
    from airflow_kling.api.tasks import KlingTask


class GenerationLineageMixin:
    """An operator that submits a generation, asked by OpenLineage before and after it has run."""

    _request_record: dict[str, Any] | None = None
    _kling_task_id: str | None = None

    if TYPE_CHECKING:
        kling_route: ClassVar[Route]
        task_id: str
        _finished: KlingTask | None
        _fields: Any

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """References as they are given; nothing is read for it."""
        from airflow_kling.api.request import is_video, media_value
        from airflow_kling.reporting.openlineage import operator_lineage

        inputs: list[str] = []
        for name in self.kling_route.media:
            value = media_value(self.kling_route, name, self._fields()[name])
            given = value if isinstance(value, list) else [value]
            inputs += lineage.addresses_as_given(given, video=is_video(self.kling_route, name))
        return operator_lineage(kling_task_id=None, asked={}, inputs=dict.fromkeys(inputs))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """References and what was asked; after a failure, OpenLineage asks here too."""
        from airflow_kling.reporting.openlineage import operator_lineage

        kling_task_id, asked = self._kling_task_id, self._request_record
        if asked is None:  # another process has submitted, before the deferral
            kling_task_id, asked = self._pull_request(task_instance)
        return operator_lineage(
            kling_task_id=kling_task_id,
            asked=asked,
            units=self._finished.billed_units if self._finished else None,
            inputs=lineage.addresses(asked.get("references") or ()),
        )

    def _pull_request(self, ti: Any) -> tuple[str | None, dict[str, Any]]:
        """Return what :meth:`_push_request` has left in XCom."""
        own = {"task_ids": self.task_id, "map_indexes": ti.map_index}
        kling_task_id = ti.xcom_pull(key="kling_task_id", **own)
        asked = ti.xcom_pull(key=xcom.request_key(kling_task_id), **own) if kling_task_id else None
        return kling_task_id, asked or {}
