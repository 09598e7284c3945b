"""Airflow's API server over real HTTP, in the tests' own process, so that they see its database and its SQL."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PASSWORDS = {"admin": "admin-password", "viewer": "viewer-password", "nobody": "nobody-password"}


@dataclass
class ApiServer:
    """A running API server.

    :param app: Airflow's app, with those of plugins mounted
    """

    url: str
    app: Any

    def client(self, user: str | None = None) -> httpx.Client:
        """A client that sends the cookie which Airflow's login sets, or none."""
        client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        if user is not None:
            login = {"username": user, "password": PASSWORDS[user]}
            answer = httpx.post(f"{self.url}/auth/token", json=login, trust_env=False, timeout=30)
            client.cookies.set("_token", answer.raise_for_status().json()["access_token"])
        return client


@contextmanager
def serve_airflow(folder: Path) -> Iterator[ApiServer]:
    """Serve Airflow with the users of :data:`PASSWORDS`; ``nobody`` has logged in and has no role."""
    import uvicorn
    from airflow.api_fastapi.app import create_app, purge_cached_app

    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    settings = {
        "CORE__AUTH_MANAGER": "tests.integration.plugins.gallery.auth.OneDagDenied",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,nobody:",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "API_AUTH__JWT_SECRET": "0" * 64,
        "API__SECRET_KEY": "1" * 64,
        "KLING__GALLERY_CACHE_DIRECTORY": str(folder / "thumbnails"),
        "KLING__GALLERY_FILE_ROOTS": str(folder.parent),
    }
    with pytest.MonkeyPatch.context() as environment, socket.create_server(("127.0.0.1", 0)) as listener:
        for name, value in settings.items():
            environment.setenv(f"AIRFLOW__{name}", value)
        purge_cached_app()
        app = create_app(apps="core")
        assert any(getattr(route, "path", "") == "/kling" for route in app.routes), "the plugin is not installed"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the API server has ended"
            assert time.monotonic() < deadline, "the API server does not start"
            time.sleep(0.05)
        yield ApiServer(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
        server.should_exit = True
        thread.join(20)
        purge_cached_app()
