"""Denies one user one DAG, in Airflow's auth manager: SimpleAuthManager knows only roles."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

GUEST = "guest"
SECRET_DAG = "secret_project"


class OneDagDenied(SimpleAuthManager):
    """The guest may read everything, apart from :data:`SECRET_DAG`."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **kwargs: Any) -> bool:
        if user.username == GUEST and details is not None and details.id == SECRET_DAG:
            return False
        return super().is_authorized_dag(user=user, details=details, **kwargs)
