"""Who may see what: Airflow's own answer. Nothing here decides; where these imports fail, there is no gallery."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends

#: Somebody who has logged in; else 401.
LoggedIn = Depends(get_user)
#: May read the XComs of the DAG in the path or query (of any DAG, where none is named), as for Airflow's own XCom page.
MayReadDag = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))


def _readable_dags(user: GetUserDep) -> set[str]:
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


ReadableDags = Annotated[set[str], Depends(_readable_dags)]
