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
        _summary: dict[str, Any]
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
            outputs=lineage.archived(self._summary) if self._summary else (),
        )

    def _pull_request(self, ti: Any) -> tuple[str | None, dict[str, Any]]:
        """Return what :meth:`_push_request` has left in XCom."""
        kling_task_id = ti.xcom_pull(key="kling_task_id", task_ids=self.task_id, map_indexes=ti.map_index)
        return kling_task_id, self._pull_record(ti, kling_task_id) if kling_task_id else {}

    def _pull_record(self, ti: Any, kling_task_id: str) -> dict[str, Any]:
        """Return the request record, empty where there is none."""
        key = xcom.request_key(kling_task_id)
        return (ti and ti.xcom_pull(key=key, task_ids=self.task_id, map_indexes=ti.map_index)) or {}
