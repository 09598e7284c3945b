"""Lists every row that `make faults` runs in a real Airflow."""

from __future__ import annotations

from tests.airflow.faults import rows_archive, rows_submission, rows_waiting
from tests.airflow.faults.model import Row

ROWS: tuple[Row, ...] = (
    *rows_submission.on_airflow_3(),
    *rows_waiting.on_airflow_3(),
    *rows_archive.on_airflow_3(),
    *rows_submission.on_airflow_2(),
)
