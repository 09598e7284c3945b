"""``kling_image`` for rows, as short as it gets: no outlets, no worker for the wait, a row that cannot be made."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_kling import kling_image

with DAG("kling_shoes", params={"references": Param([], type="array"), "destination": Param("", type="string")}) as dag:

    @task
    def rows(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Two rows are good, one has a prompt that is too long, one a column that nobody knows."""
        assert params
        row = {"subject_images": params["references"], "n": 2}
        given = (
            {"prompt": "shoes on a beach"},
            {"prompt": "x" * 2501},
            {"promt": "shoes in rain"},
            {"prompt": "boots"},
        )
        return [row | one for one in given]

    shoes = kling_image.partial("shoes", destination=dag.param("destination"), poke_interval=1)
    images = shoes.expand_kwargs(rows())

    @task(trigger_rule="all_done")
    def count(archives: Any) -> int:
        """Take what the archive tasks return."""
        return sum(len(archive["images"]) for archive in archives)

    count(images.output)
