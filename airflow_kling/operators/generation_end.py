"""Ends a generation in the task that submitted it: archives its results where there is a destination."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_kling.exceptions import KlingError
from airflow_kling.lifecycle.fail_fast import failing_fast
from airflow_kling.lifecycle.wait import KlingWaitMixin
from airflow_kling.operators.archiving import ArchivingOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

#: What it means for the bill that a generation could not be archived.
PAID = (
    "Kling task {} is billed: a retry archives it, as does a clear with on_clear='reuse'; any other clear pays for "
    "another."
)


class GenerationEndMixin(KlingWaitMixin, ArchivingOperator):
    """An operator that submits, waits, and archives what it has waited for.

    No URL of a result is in XCom nor in an event: they are signed, and whoever reads Airflow's database could fetch
    them. The worker that resumes asks for them anew, by one free request.
    """

    if TYPE_CHECKING:
        _kling_task_id: str | None
        _request_record: dict[str, Any] | None
        _pull_record: Any

    def execute_complete(self, context: Context, event: Mapping[str, Any], **state: Any) -> dict[str, Any]:
        """Resume after the trigger has fired, and archive."""
        finished = super().execute_complete(context, event, **state)
        with failing_fast():
            return self.end(context, finished)

    def end(self, context: Context, finished: dict[str, Any]) -> dict[str, Any]:
        """Archive the task that has been waited for; without a destination return it.

        :param finished: the task, as an XCom.
        """
        from airflow_kling.lifecycle import allowed

        task, self._waiting_for = self._finished, None
        if not self.archives or task is None:
            return finished
        self._kling_task_id = task.kling_task_id
        if self._request_record is None:  # another process has submitted, before the deferral
            self._request_record = self._pull_record(context.get("ti"), task.kling_task_id)
        self.set_console_link(context, task.kling_task_id)
        refresh = partial(self.hook.get_task, task.kling_task_id, route=task.route)
        try:
            allowed.check_destination(self.destination)  # rendered anew, maybe to another one
            return self.archive(context, task, self._request_record, refresh=refresh)
        except KlingError as error:
            error.money = error.money or PAID.format(task.kling_task_id)
            raise
        except Exception:  # each storage has errors of its own
            self.log.error(PAID.format(task.kling_task_id))
            raise
