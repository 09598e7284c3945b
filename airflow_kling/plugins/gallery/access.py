"""Asks Airflow's auth manager who the user is and which DAGs the user may read.

Nothing is decided here. Where these imports fail, the gallery answers 503: see :mod:`.plugin`.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends

#: Needs a user who has logged in; answers 401 otherwise.
LoggedIn = Depends(get_user)
#: Needs a user who may read the XComs of the DAG in the path or query, or of any DAG where none is named; answers 403
#: otherwise. Airflow's own page of XComs asks the same.
MayReadDag = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))


def _readable_dags(user: GetUserDep) -> set[str]:
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


ReadableDags = Annotated[set[str], Depends(_readable_dags)]
