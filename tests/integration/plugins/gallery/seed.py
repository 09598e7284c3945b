"""Writes generations into Airflow's metadata database as runs of a DAG do: for the gallery's tests and benchmark.

Images are hard links to a few real files, so that 10,000 generations take no room.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.manifest import ManifestImage, build_manifest, dump_manifest
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.reporting import xcom

BEGAN = datetime(2026, 1, 1, 6, 0, tzinfo=UTC)
WORDS = ("morning light", "on a beach", "studio, white", "winter market", "neon rain", "oak table", "linen", "a café")
PRODUCTS = ("mug", "lamp", "plant", "shoe", "bag", "chair", "teapot", "watch")
MODELS = ("kling-v2", "kling-v2-1")
SCENE = "https://example.com/room.png"
RATIOS = ("1:1", "16:9", "3:4", "4:3")


@dataclass(frozen=True)
class Generation:
    """One generation, and where in Airflow it was made.

    :param number: also makes its Kling task id, prompt and time
    :param archived: False for one that still runs
    """

    number: int
    dag_id: str
    run_id: str
    map_index: int = -1
    archived: bool = True

    @property
    def kling_task_id(self) -> str:
        return f"8{self.number:08d}"

    @property
    def name(self) -> str:
        """By which the gallery tells its state."""
        return Identity(self.dag_id, self.run_id, "", self.map_index, self.kling_task_id).generation

    @property
    def at(self) -> datetime:
        return BEGAN + timedelta(minutes=self.number)


def one_run(count: int, dag_id: str = "kling_catalog") -> list[Generation]:
    """All of them as mapped tasks of a single run."""
    return [Generation(number, dag_id, "manual__all", number) for number in range(count)]


def many_runs(count: int, dag_id: str = "kling_daily") -> list[Generation]:
    """One a run."""
    return [Generation(number, dag_id, f"scheduled__{number:06d}") for number in range(count)]


class Pictures:
    """A few real images, of which every archived generation gets links.

    :param folder: where they and the archive lie
    """

    def __init__(self, folder: Path, *, side: int = 1024, kinds: int = 12, per_generation: int = 2) -> None:
        self._folder = folder
        self.per_generation = per_generation
        folder.mkdir(parents=True, exist_ok=True)
        self._made = [self._make(number, side) for number in range(kinds)]

    def _make(self, number: int, side: int) -> tuple[Path, dict[str, Any]]:
        file = self._folder / f"picture-{number}.png"
        gradient = Image.linear_gradient("L").resize((side, side))
        channels = [
            gradient.rotate(90 * (number + turn)).point(lambda v, s=turn: (v * (s + 2)) % 256) for turn in range(3)
        ]
        out = io.BytesIO()
        Image.merge("RGB", channels).save(out, "PNG", compress_level=1)
        file.write_bytes(out.getvalue())
        return file, {
            "sha256": hashlib.sha256(out.getvalue()).hexdigest(),
            "bytes": file.stat().st_size,
            "width": side,
            "height": side,
            "content_type": "image/png",
        }

    def archive(self, generation: Generation, *, on_disk: bool = True) -> dict[str, Any]:
        """The summary of an archived generation; its files exist when ``on_disk``."""
        folder = self._folder / "archive" / generation.kling_task_id
        images = []
        if on_disk:
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(self.per_generation):
            file, description = self._made[(generation.number + index) % len(self._made)]
            target = folder / f"{index}.png"
            if on_disk and not target.exists():
                os.link(file, target)
            images.append({"index": index, "uri": f"file://{target}", **description})
        if on_disk:
            (folder / "manifest.json").write_bytes(self._manifest(generation, images))
        uri = f"file://{folder}/manifest.json"
        return {"manifest": uri, "kling_task_id": generation.kling_task_id, "images": images}

    def _manifest(self, generation: Generation, images: list[dict[str, Any]]) -> bytes:
        keys = [f"{generation.kling_task_id}/{image['index']}.png" for image in images]
        described = [
            ManifestImage(**image, key=key, source_url="https://example.com/result.png")
            for image, key in zip(images, keys, strict=True)
        ]
        task = KlingTask.from_xcom(finished(generation))
        return dump_manifest(build_manifest(task, described, request=asked(generation, self), run={}))

    def reference(self, generation: Generation) -> dict[str, Any]:
        """A reference image that was given as a file."""
        file, description = self._made[generation.number % len(self._made)]
        return {"name": "subject_images[0]", "source": "file", "uri": file.as_uri(), **description}


def asked(generation: Generation, pictures: Pictures) -> dict[str, Any]:
    """What the submitting task leaves in XCom."""
    number = generation.number
    product, place = PRODUCTS[number % len(PRODUCTS)], WORDS[number // 8 % len(WORDS)]
    return {
        "prompt": f"{product.capitalize()} {number}: {place}, soft shadows, a calm background, catalogue style",
        "model_name": MODELS[number % 2],
        "aspect_ratio": RATIOS[number % 4],
        "n": 2,
        "gateway": "cometapi",
        "external_task_id": f"{generation.dag_id}-{number}",
        "references": [pictures.reference(generation), {"name": "scene_image", "source": "url", "uri": SCENE}],
    }


def finished(generation: Generation) -> dict[str, Any]:
    """The finished task as the sensor returns it, without its images."""
    return {
        "kling_task_id": generation.kling_task_id,
        "status": "succeed",
        "created_at": generation.at.isoformat(),
        "updated_at": (generation.at + timedelta(seconds=17 + generation.number % 20)).isoformat(),
        "unit_deduction": "2",
    }


def seed(session: Any, generations: Sequence[Generation], pictures: Pictures, *, on_disk: int = 0) -> None:
    """Write runs, task instances and XComs.

    :param on_disk: how many of the newest generations get files
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    if session.get(DagBundleModel, "seeded") is None:
        session.add(DagBundleModel(name="seeded"))
        session.flush()
    for dag_id in sorted({one.dag_id for one in generations}):
        if session.get(DagModel, dag_id) is None:
            session.add(DagModel(dag_id=dag_id, bundle_name="seeded", is_stale=False, is_paused=False, fileloc="x.py"))
    session.flush()
    runs = {(one.dag_id, one.run_id): one for one in generations}
    session.execute(DagRun.__table__.insert(), [_run(one) for one in runs.values()])
    ids = dict(
        ((dag_id, run_id), key) for key, dag_id, run_id in session.query(DagRun.id, DagRun.dag_id, DagRun.run_id).all()
    )
    session.execute(TaskInstance.__table__.insert(), [row for one in generations for row in _instances(one)])
    _analyze(session)
    newest = len(generations) - on_disk
    session.execute(
        XComModel.__table__.insert(),
        [
            row
            for position, one in enumerate(generations)
            for row in _xcoms(one, ids[one.dag_id, one.run_id], pictures, on_disk=position >= newest)
        ],
    )
    _analyze(session)
    session.commit()


def _analyze(session: Any) -> None:
    """What PostgreSQL's autovacuum does within a minute; SQLite never does it by itself."""
    from sqlalchemy import text

    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("ANALYZE"))


def _run(one: Generation) -> dict[str, Any]:
    return {
        "dag_id": one.dag_id,
        "run_id": one.run_id,
        "run_type": "manual",
        "state": "success" if one.archived else "running",
        "logical_date": None,
        "run_after": one.at,
        "start_date": one.at,
        "log_template_id": None,
    }


def _instances(one: Generation) -> Iterator[dict[str, Any]]:
    operators = {
        "submit": ("KlingMultiImageToImageOperator", "success"),
        "wait": ("KlingTaskSensor", "success" if one.archived else "deferred"),
        "archive": ("KlingArchiveImagesOperator", "success" if one.archived else None),
    }
    for task_id, (operator, state) in operators.items():
        yield {
            "dag_id": one.dag_id,
            "run_id": one.run_id,
            "task_id": task_id,
            "map_index": one.map_index,
            "state": state,
            "operator": operator,
            "pool": "default_pool",
            "start_date": one.at,
        }


def _xcoms(one: Generation, run: int, pictures: Pictures, *, on_disk: bool) -> Iterator[dict[str, Any]]:
    request = asked(one, pictures)
    values = {
        ("submit", "return_value"): one.kling_task_id,
        ("submit", "kling_task_id"): one.kling_task_id,
        ("submit", xcom.request_key(one.kling_task_id)): request,
    }
    if one.archived:
        summary = pictures.archive(one, on_disk=on_disk)
        values["wait", "return_value"] = finished(one)
        values["archive", "return_value"] = summary
        values["archive", xcom.archive_key(one.kling_task_id)] = xcom.describe_archive(
            summary, task=KlingTask.from_xcom(finished(one)), asked=request, conn_id=None
        )
    for (task_id, key), value in values.items():
        yield {
            "dag_run_id": run,
            "dag_id": one.dag_id,
            "run_id": one.run_id,
            "task_id": task_id,
            "map_index": one.map_index,
            "key": key,
            "value": value,
            "timestamp": one.at + timedelta(seconds=30 if task_id == "archive" else 0),
        }


def main(folder: str, dag_id: str, count: str, on_disk: str) -> None:
    """Fill the database of ``AIRFLOW_HOME``: a single run for the DAG ``kling_catalog``, else a run each."""
    from airflow.utils.session import create_session

    made = one_run(int(count), dag_id) if dag_id == "kling_catalog" else many_runs(int(count), dag_id)
    with create_session(scoped=False) as session:
        seed(session, made, Pictures(Path(folder)), on_disk=int(on_disk))


if __name__ == "__main__":
    main(*sys.argv[1:])
