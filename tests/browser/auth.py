"""Airflow's own auth manager with a second user, who may see all DAGs but one: SimpleAuthManager knows only roles."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

GUEST = "guest"
SECRET_DAG = "secret_project"


class OneDagDenied(SimpleAuthManager):
    """The guest may read everything, apart from :data:`SECRET_DAG`."""

    @staticmethod
    def get_users() -> list[SimpleAuthManagerUser]:
        return [*SimpleAuthManager.get_users(), SimpleAuthManagerUser(username=GUEST, role="viewer", teams=None)]

    def is_authorized_dag(self, *, user: Any, details: Any = None, **kwargs: Any) -> bool:
        if user.username == GUEST and details is not None and details.id == SECRET_DAG:
            return False
        return super().is_authorized_dag(user=user, details=details, **kwargs)
