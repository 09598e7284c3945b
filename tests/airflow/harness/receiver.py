"""Runs the receiver of callbacks alone, for a real Airflow."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.paths import CHECKOUT
from deploy.local.processes import server, wait_until

SECRET = "callback-secret-of-the-tests"
_LISTENING = re.compile(r"Kling callback receiver listening on (http://\S+)")


@contextmanager
def running_receiver(log: Path, record_store: str) -> Iterator[str]:
    """Run a receiver on a free port; yields its base URL.

    :param record_store: where it notes what it is told.
    """
    command = [sys.executable, "-m", "airflow_kling.callbacks", "--port", "0"]
    env = os.environ | {"KLING_CALLBACK_SECRET": SECRET, "KLING_RECORD_STORE": record_store}
    with server(command, log=log, env=env, cwd=CHECKOUT) as process:

        def listening() -> str | None:
            found = _LISTENING.search(log.read_text(errors="replace"))
            return found and found.group(1)

        yield wait_until(listening, process=process, log=log, what="The receiver of callbacks")
