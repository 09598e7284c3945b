"""Makes the identity of a submission that Kling sees, and the fingerprint of its input.

The identity (``external_task_id``) is made of dag id, run id, task id, map index, round and attempt. A *round* is the
work between two clears by a user: Airflow leaves ``ti.max_tries`` alone on automatic retries and raises it on a clear,
so it numbers the rounds, also where nothing is recorded. An *attempt* is one generation; the next one starts only
when the one before is known to have failed at Kling.

Format: ``airflow-<32 hex digits>-<round>-<attempt>``, 44 characters or a few more, letters, digits and ``-`` only. With
an ``external_task_id`` of the user's own, the first attempt of the first round has just that, every other one
``<own>-<round>-<attempt>``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_kling.api.routes import DEFAULT_ROUTE

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


@dataclass(frozen=True)
class Identity:
    """A round of work of one task instance.

    :param round: ``ti.max_tries``.
    :param first_round: no user has cleared the task yet.
    :param first_try: nothing has run before this try; after a clear that is not known, and asking is free.
    :param base: the user's own ``external_task_id``.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    round: int
    first_round: bool
    first_try: bool
    base: str | None = None

    @classmethod
    def of(cls, context: Context, *, retries: int, base: str | None) -> Identity | None:
        """The identity of the running task instance; None outside of Airflow, where there are no retries."""
        ti: Any = context.get("ti")
        if ti is None:
            return None
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            round=ti.max_tries,
            first_round=ti.max_tries <= retries,
            first_try=ti.try_number <= 1,
            base=base,
        )

    def external_task_id(self, attempt: int) -> str:
        """The id under which Kling knows this attempt."""
        if self.base:
            return self.base if self.first_round and attempt == 1 else f"{self.base}-{self.round}-{attempt}"
        instance = json.dumps([self.dag_id, self.run_id, self.task_id, self.map_index])
        return f"airflow-{hashlib.sha256(instance.encode()).hexdigest()[:32]}-{self.round}-{attempt}"


def fingerprint(request_record: Mapping[str, Any]) -> str:
    """Of an input: references by content or by URL without its query, which is signed anew each time.

    :param request_record: see :func:`airflow_kling.reporting.xcom.describe_request`; the identity in it does not count.
    """
    content = {name: value for name, value in request_record.items() if name != "external_task_id"}
    # Records written before there were routes have none: the same input must have the same fingerprint as then.
    if content.get("route") == DEFAULT_ROUTE:
        del content["route"]
    content["references"] = [
        {name: value for name, value in reference.items() if name != "uri" or "sha256" not in reference}
        for reference in request_record.get("references", ())
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
