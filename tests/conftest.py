"""An Airflow of the tests' own: nothing is read from or written to the user's AIRFLOW_HOME."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

# Airflow reads its configuration when it is first imported, which is before any fixture runs.
_HOME = tempfile.mkdtemp(prefix="airflow-kling-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
for _name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_") or name == "KLING_API_KEY"]:
    del os.environ[_name]

# A run that is told to end (a CI's time limit) ends the servers of its fixtures on the way out.
signal.signal(signal.SIGTERM, signal.default_int_handler)
