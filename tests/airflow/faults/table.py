"""Lists every row that `make faults` runs in a real Airflow."""

from __future__ import annotations

from dataclasses import replace

from tests.airflow.faults import rows_archive, rows_compact, rows_submission, rows_waiting
from tests.airflow.faults.model import Row

IMAGES, VIDEO = "image-generation", "image-to-video"
ROWS: tuple[Row, ...] = (
    *rows_submission.on_airflow_3(),
    *rows_waiting.on_airflow_3(),
    *rows_archive.on_airflow_3(),
    *rows_compact.on_airflow_3(),
    *rows_submission.on_airflow_2(),
    *rows_compact.on_airflow_2(),
    *rows_submission.of_route(IMAGES, results=2),
    *(replace(row, route=IMAGES, short=False) for row in rows_archive.on_airflow_3()),
    *rows_submission.of_route(VIDEO, results=1, short="connection dropped after it was created"),
    *rows_archive.of_a_video(VIDEO),
)
