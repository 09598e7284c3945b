"""What a run that Asset events have started is about: each event once, and none a run late. Needs Airflow 3.1.

Airflow (3.3.2) hands a run the events up to the first one that asked for it. Those that come until the scheduler has
made the run, seconds later, ask for no run, and are handed to the next one, whenever that is. Here a run takes them
itself, and the next run leaves them out.
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
LOOK_BACK = 50  # events: were a run before those to begin after this one, both would take what came between

log = logging.getLogger(__name__)

Taken = Callable[[str], "Sequence[str] | None"]


def manifests_of_run(context: Context, asset: Asset) -> list[str]:
    """Return the manifests that the events of ``asset`` name and that are this run's, each once, the oldest first.

    A run that no event has started has none. What earlier and later runs have taken is in what the same task of theirs
    has returned: return the list, and set ``max_active_tis_per_dag=1``, so that no two runs decide at the same time.

    :param context: of a task with ``asset`` among its ``inlets``.
    :param asset: what the DAG is scheduled by.
    :raises AirflowRuntimeError: Airflow cannot tell of other events, in 3.3.2 as long as one of them waits in a queued
        run of whatever DAG. The last try goes on without: what it then takes, another run may take too.
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
        log.warning("Taking only what Airflow has handed over, it cannot tell of other events: %s", error)
    taken = cache(lambda run_id: ti.xcom_pull(task_ids=ti.task_id, run_id=run_id))
    return share_of_run(run.dag_id, run.run_id, mine, before, since, taken)


def share_of_run(
    dag_id: str, run_id: str, mine: Sequence[Any], before: Sequence[Any], since: Sequence[Any], taken: Taken
) -> list[str]:
    """Return the manifests of the events that are this run's.

    :param mine: the events that Airflow has handed to this run; unlike the others they do not name their runs.
    :param before: the last events before those: they are previous runs'.
    :param since: the events between those and the start of this run.
    :param taken: what a run has taken, by its id; None when it has not decided yet.
    """

    def others(event: Any) -> list[Any]:
        return [run for run in event.created_dagruns if run.dag_id == dag_id and run.run_id != run_id]

    known = {run.run_id: run for event in (*before, *since) for run in others(event)}.values()

    def is_taken(event: Any) -> bool:
        manifest = event.extra["manifest"]
        return any(event.timestamp <= run.start_date and manifest in (taken(run.run_id) or ()) for run in known)

    def is_left(event: Any) -> bool:
        """The run that Airflow has handed it to, if any, has decided."""
        return all(taken(run.run_id) is not None for run in others(event))

    events = (*filter(_has_manifest, mine), *filter(is_left, filter(_has_manifest, since)))
    return list(dict.fromkeys(event.extra["manifest"] for event in events if not is_taken(event)))


def _has_manifest(event: Any) -> bool:
    return "manifest" in (event.extra or {})
