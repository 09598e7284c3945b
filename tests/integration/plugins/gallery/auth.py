"""Denies one user one DAG, in Airflow's auth manager: SimpleAuthManager knows only roles."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

DENIED_DAG = "denied"
DENIED_USER = "viewer"


class OneDagDenied(SimpleAuthManager):
    """``viewer`` may not read the DAG ``denied``."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **kwargs: Any) -> bool:
        if user.username == DENIED_USER and details is not None and details.id == DENIED_DAG:
            return False
        return super().is_authorized_dag(user=user, details=details, **kwargs)
