"""Emulates the Kling API over real HTTP, for demos, for tests of this provider and for users' own DAG tests.

Start it with ``python -m airflow_kling.emulator`` or, inside a test, with :func:`serve`. It needs the extra
``airflow-provider-kling[emulator]`` (starlette, uvicorn, Pillow) and imports nothing of Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_kling.emulator.config import Account, Duration, EmulatorConfig

if TYPE_CHECKING:
    from airflow_kling.emulator.server import Emulator, serve

__all__ = ["Account", "Duration", "Emulator", "EmulatorConfig", "serve"]


def __getattr__(name: str) -> Any:
    if name in ("Emulator", "serve"):
        # Imported when used: the web server and Pillow load slowly and belong to an optional extra.
        from airflow_kling.emulator import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
