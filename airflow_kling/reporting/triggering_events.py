"""Decides which manifests belong to a run that asset events triggered. Needs Airflow 3.1.

Airflow (3.3.2) hands a run the events up to the first one that triggered it. The scheduler makes the run some seconds
later. The events of these seconds trigger no run; Airflow hands them to the next run, whenever that is. Here the run
takes them itself, and the next run leaves them out: each event belongs to one run, and to the first one that can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

INSTANT = timedelta(microseconds=1)  # Airflow's bounds of time are inclusive
# Events before this run's that are read, to learn of earlier runs. An earlier run that starts after this one and is not
# among them would take the events between the two a second time.
LOOK_BACK = 50

log = logging.getLogger(__name__)

Taken = Callable[[str], "Sequence[str] | None"]


def manifests_of_run(context: Context, asset: Asset) -> list[str]:
    """Return the manifests of the events of ``asset`` that belong to this run, each once, the oldest first.

    A run that no event triggered has none. The task must return the list: other runs read in XCom what this one has
    taken. Set ``max_active_tis_per_dag=1`` for it, so that no two runs decide at the same time.

    :param context: of a task with ``asset`` among its ``inlets``.
    :param asset: in the schedule of the DAG.
    :raises AirflowRuntimeError: Airflow cannot list other events; 3.3.2 cannot as long as one of them belongs to a
        queued run of any DAG. The last try goes on without them: another run may take the same manifests then.
    """
    mine = sorted(context["triggering_asset_events"].get(asset, ()), key=lambda event: event.timestamp)
    if not mine:
        return []
    run, ti, history = context["dag_run"], context["ti"], context["inlet_events"]
    before: list[Any] = []
    since: list[Any] = []
    try:
        before = list(history[asset].before(str(mine[0].timestamp - INSTANT)).ascending(False).limit(LOOK_BACK))
        since = list(history[asset].after(str(mine[-1].timestamp + INSTANT)).before(str(run.start_date)))
    except Exception as error:
        if ti.try_number <= ti.max_tries:
            raise
        log.warning("Airflow cannot list other events, so this run takes only those that it was given: %s", error)
    taken = cache(lambda run_id: ti.xcom_pull(task_ids=ti.task_id, run_id=run_id))
    return share_of_run(run.dag_id, run.run_id, mine, before, since, taken)


def share_of_run(
    dag_id: str, run_id: str, mine: Sequence[Any], before: Sequence[Any], since: Sequence[Any], taken: Taken
) -> list[str]:
    """Return the manifests of the events that belong to this run.

    :param mine: the events that Airflow gave to this run; unlike the others they do not name their runs.
    :param before: the last events before those; they belong to earlier runs.
    :param since: the events between those and the start of this run.
    :param taken: returns the manifests that a run has taken, by its id; None while it has not decided.
    """

    def others(event: Any) -> list[Any]:
        return [run for run in event.created_dagruns if run.dag_id == dag_id and run.run_id != run_id]

    known = {run.run_id: run for event in (*before, *since) for run in others(event)}.values()

    def is_taken(event: Any) -> bool:
        manifest = event.extra["manifest"]
        return any(event.timestamp <= run.start_date and manifest in (taken(run.run_id) or ()) for run in known)

    def is_left(event: Any) -> bool:
        # The run to which Airflow gave it, if any, has decided, and did not take it.
        return all(taken(run.run_id) is not None for run in others(event))

    events = (*filter(_has_manifest, mine), *filter(is_left, filter(_has_manifest, since)))
    return list(dict.fromkeys(event.extra["manifest"] for event in events if not is_taken(event)))


def _has_manifest(event: Any) -> bool:
    return "manifest" in (event.extra or {})
