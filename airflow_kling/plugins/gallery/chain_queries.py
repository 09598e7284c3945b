"""Finds what the generations of a page were made from, and what was made from them, by the index on keys.

Both questions leave out the DAGs that the user may not read, and their answers have a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from airflow_kling.plugins.gallery.chains import (
    Chains,
    Claim,
    Generation,
    prompt_label,
    results_of,
    sources_of,
    uses_of,
)
from airflow_kling.plugins.gallery.queries import find_values
from airflow_kling.plugins.gallery.rows import Row
from airflow_kling.reporting import xcom

#: Kling task ids of one question, and rows of one answer.
MAX_IDS, MAX_ROWS = 200, 400
#: Characters of a value in JSON that is read for a link; an archive of nine images has some 5 kB.
MAX_VALUE = 32 * 1024
#: Links from one result to what was made from it.
MAX_USES = 6


def find_chains(session: Session, rows: Sequence[Row], readable: Collection[str]) -> Chains:
    """Return what the generations of a page were made from, and what was made from them.

    :param readable: ids of the DAGs that the user may read.
    """
    claims = {claim for row in rows for claim in sources_of(row)}
    archived = {row.identity.kling_task_id for row in rows if row.archived}
    return Chains(_find_sources(session, claims, readable), _find_uses(session, archived, readable))


def _find_sources(session: Session, claims: set[Claim], readable: Collection[str]) -> dict[Claim, Generation]:
    found: dict[Claim, Generation] = {}
    ids = sorted({claim.kling_task_id for claim in claims})[:MAX_IDS]
    for row in find_values(session, map(xcom.archive_key, ids), readable, most=MAX_ROWS, max_value=MAX_VALUE):
        identity = row.identity
        for claim in claims & results_of(row.value, identity.kling_task_id):
            found.setdefault(claim, Generation(identity, prompt_label(row.value, identity.kling_task_id)))
    return found


def _find_uses(session: Session, ids: set[str], readable: Collection[str]) -> dict[Claim, list[Generation]]:
    found: dict[Claim, list[Generation]] = {}
    for row in find_values(session, map(xcom.use_key, ids), readable, most=MAX_ROWS, max_value=MAX_VALUE):
        use = uses_of(row.value, row.identity.kling_task_id)
        if use is None:
            continue
        kling_task_id, route, claims = use
        generation = Generation(row.identity._replace(kling_task_id=kling_task_id), f"{route} {kling_task_id}".strip())
        for claim in claims:
            uses = found.setdefault(claim, [])
            if len(uses) < MAX_USES and generation not in uses:
                uses.append(generation)
    return found
