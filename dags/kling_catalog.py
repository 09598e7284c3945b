"""
### Kling: product images, and clips of them, for a whole catalogue

Every run reads the catalogue file and makes images for each row: what is in the file is generated **and paid for**, so
the file lists what to make today, not everything that ever was. As with every scheduled DAG, unpausing it starts the
run of the last midnight at once.

With **Clips** in the form, the first archived image of each row becomes a clip of five seconds, which is paid for too.
Without it the tasks of the clips are skipped.

The file is CSV with a header (comma, semicolon or tab), a JSON array of objects, or JSON lines, in UTF-8, UTF-16 or
what Excel writes; local or in object storage:

| column | |
|---|---|
| `sku` | names the row's folder in the archive; a text or a number but `.` and `..`; required |
| `subject_images` | URLs or files, separated by `|`, in JSON a list too; required |
| `prompt`, `scene_image`, `style_image`, `aspect_ratio` | optional |
| `clip_prompt` | optional: how the image moves in the clip |

Other columns are left alone, and so are blank rows. `Subject Images` is `subject_images`. A file name without a folder
or scheme is looked up beside the catalogue.

Rows are independent: a row that fails (no sku, a refused prompt, an unreadable image) fails alone, with its number, and
the run is marked failed once the others are archived. Clear the failed row's tasks to run it anew; where the row itself
had to be mended, let the next run read a file with that row alone.

**The pool `kling` mirrors Kling's concurrency.** An image task holds `n` of the account's parallel slots from
submission to its end, so with a pool `kling_image` submits, waits *and* archives in one task, `generate`, which holds
`pool_slots = n` for the whole time; two tasks would let go of the slots in between. Make the pool as large as the
account's limit and count deferred tasks:

    airflow pools set kling 9 "parallel Kling images" --include-deferred

Clips have slots of their own at Kling: while there is none, a submission is refused for free, and waits in the
triggerer for up to a day.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    Asset,
    ObjectStoragePath,
    Param,
    task,
    task_group,
)

from airflow_kling import kling_generate, kling_image
from airflow_kling.catalog import Row
from airflow_kling.catalog import read_catalog as read_rows

IMAGES_PER_ROW = 2
REQUIRED = ("sku", "subject_images")
COLUMNS = {*REQUIRED, "prompt", "scene_image", "style_image", "aspect_ratio", "clip_prompt"}

log = logging.getLogger(__name__)


def beside(catalog: ObjectStoragePath, image: Any) -> Any:
    """Return a reference to ``image``; a bare file name is one beside the catalogue."""
    if not isinstance(image, str) or "://" in image or "/" in image:
        return image
    return str(catalog.parent / image.strip())


def subjects(catalog: ObjectStoragePath, images: Any) -> Any:
    """Return references to the subjects; what is neither a text nor a list is refused in its row."""
    if isinstance(images, str):
        images = [image.strip() for image in images.split("|") if image.strip()]
    return [beside(catalog, image) for image in images] if isinstance(images, list) else images


def to_task_arguments(catalog: ObjectStoragePath, destination: str, row: Row) -> dict[str, Any]:
    """Turn one row into arguments of `product`; what the API allows is checked by the tasks in it."""
    fields = row.fields
    sku = fields.get("sku")
    error = row.error
    if not error and (isinstance(sku, bool) or not isinstance(sku, str | int | float)):
        error = "has no sku" if sku is None else f"has a sku that is no text: {sku!r:.60}"
    if not error and str(sku).strip() in (".", ".."):
        error = f"has the sku {sku!r}, which is no name of a folder"
    if error:
        return {"error": f"Row {row.number} of {catalog} {error}; nothing was submitted for it."}
    return {
        "subject_images": subjects(catalog, fields.get("subject_images", [])),
        "prompt": fields.get("prompt"),
        "scene_image": beside(catalog, fields.get("scene_image")),
        "style_image": beside(catalog, fields.get("style_image")),
        "aspect_ratio": fields.get("aspect_ratio", "1:1"),
        "clip_prompt": fields.get("clip_prompt"),
        "destination": f"{destination.rstrip('/')}/{quote(str(sku).strip(), safe='')}",
    }


def fail_alone(arguments: dict[str, Any]) -> dict[str, Any]:
    """Let a row that cannot be read fail in its own task."""
    if "error" in arguments:
        raise AirflowFailException(arguments["error"])
    return arguments


with DAG(
    dag_id="kling_catalog",
    description="Make images, and clips of them, for every row of a catalogue file, each row on its own.",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "catalog": Param(
            os.environ.get("KLING_CATALOG", "file:///srv/kling/catalog.csv"),
            type="string",
            title="Catalogue",
            description="A CSV or JSON file; see the documentation of the DAG.",
        ),
        "destination": Param(
            os.environ.get("KLING_ARCHIVE", "file:///tmp/kling-archive"),
            type="string",
            title="Destination",
            description="s3://bucket/prefix or another object storage URL; each row gets a folder in it.",
        ),
        "clip": Param(
            False, type="boolean", title="Clips", description="Make a clip of each row's first image; it is paid for."
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["kling", "images"],
) as dag:

    @task
    def read_catalog(catalog: str, destination: str) -> list[dict[str, Any]]:
        """Return the arguments of the mapped task group, one set for each row."""
        from airflow_kling.storage.destination import Destination

        Destination.parse(destination)  # before anything is paid for
        path = ObjectStoragePath(catalog)
        rows = read_rows(path.read_bytes(), str(path), columns=REQUIRED)
        if unused := sorted({name for row in rows for name in row.fields} - COLUMNS):
            log.warning("Columns that are not used: %s", ", ".join(unused))
        return [to_task_arguments(path, destination, row) for row in rows]

    @task
    def wants_clip(clip: bool) -> None:
        """Skip the clip of a row, unless the form asks for clips."""
        if not clip:
            raise AirflowSkipException("Clips are off in the form; none is made, and none is paid for.")

    @task_group
    def product(
        subject_images: Any,
        prompt: Any,
        scene_image: Any,
        style_image: Any,
        aspect_ratio: Any,
        clip_prompt: Any,
        destination: Any,
    ) -> None:
        """Make the images of a row, and a clip of the first one."""
        picture = kling_image(
            "picture",
            subject_images=subject_images,
            prompt=prompt,
            scene_image=scene_image,
            style_image=style_image,
            aspect_ratio=aspect_ratio,
            n=IMAGES_PER_ROW,
            destination=destination,
            pool="kling",
            outlets=[Asset("kling_images")],
        )
        clip = kling_generate(
            "clip",
            route="image-to-video",
            image=picture.output,
            prompt=clip_prompt,
            duration="5",
            destination=destination,
            submit_timeout=timedelta(days=1),
            outlets=[Asset("kling_images")],
        )
        picture >> wants_clip(dag.param("clip")) >> clip

    product.expand_kwargs(read_catalog(dag.param("catalog"), dag.param("destination")).map(fail_alone))
