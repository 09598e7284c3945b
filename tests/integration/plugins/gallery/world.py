"""What the gallery's tests look at, and how they put more there."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from airflow_kling.api.tasks import KlingTask
from airflow_kling.reporting import xcom
from tests.integration.plugins.gallery.seed import Generation, Pictures, asked, finished
from tests.integration.plugins.gallery.server import ApiServer

_NUMBERS = itertools.count(700_000)


@dataclass
class Gallery:
    """A gallery with generations of two DAGs.

    :param open_one: archived, of a DAG that everybody may read
    :param denied_one: archived, of one that ``viewer`` may not
    """

    server: ApiServer
    folder: Path
    pictures: Pictures
    open_one: Generation
    denied_one: Generation

    def address(self, one: Generation, what: str, **query: Any) -> str:
        """Where something of a generation is."""
        if what in ("image", "reference", "video", "poster"):
            query = {"index": 0, **query}
        names = {"run_id": one.run_id, "map_index": one.map_index, "task_id": "archive"}
        names["kling_task_id"] = one.kling_task_id
        return f"/kling/dags/{one.dag_id}/{what}?{urlencode({**names, **query})}"


def described(file: Path) -> dict[str, Any]:
    """Describe a file's bytes and place as an archive does."""
    content = file.read_bytes()
    return {"uri": file.as_uri(), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@dataclass
class Left:
    """XComs that a test leaves as a task would, in a run of its own.

    :param states: of its task instances
    """

    dag_id: str
    states: dict[str, str | None] = field(default_factory=lambda: {"submit": "success", "archive": "success"})
    run_state: str = "running"
    map_index: int = -1
    operators: dict[str, str] = field(default_factory=dict)
    generation: Generation = field(init=False)

    def __post_init__(self) -> None:
        number = next(_NUMBERS)
        self.generation = Generation(number, self.dag_id, f"run-{number}", self.map_index)
        self._write_run()

    def archive(self, pictures: Pictures, task_id: str = "archive", **changes: Any) -> dict[str, Any]:
        """Leave what an archive task leaves, with some of it changed; returns it."""
        summary = pictures.archive(self.generation)
        request = asked(self.generation, pictures)
        task = KlingTask.from_xcom(finished(self.generation))
        value = xcom.describe_archive(summary, task=task, asked=request, conn_id=None)
        value |= changes
        self.put(task_id, xcom.archive_key(self.generation.kling_task_id), value)
        return value

    def clip(
        self, folder: Path, content: bytes, poster: bytes | None = None, references: Any = (), **changes: Any
    ) -> dict[str, Any]:
        """Leave what the tasks of a video leave, and its files; returns the archive's XCom.

        :param folder: of the archive.
        :param references: of the request record.
        :param changes: of the description of the video.
        """
        key = self.generation.kling_task_id
        directory = folder / "archive" / key
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "0.mp4").write_bytes(content)
        sides = {"width": 640, "height": 360}
        video = {"index": 0, **described(directory / "0.mp4"), **sides, "content_type": "video/mp4"}
        video |= {"duration": 5.04, "codec": "avc1", "id": "9" + key}
        if poster is not None:
            (directory / "0.poster.jpg").write_bytes(poster)
            video["poster"] = {**described(directory / "0.poster.jpg"), **sides, "content_type": "image/jpeg"}
        asked = {
            "prompt": f"A slow turn {key}",
            "model_name": "kling-v3",
            "route": "image-to-video",
            "references": list(references),
        }
        for use_key, use in xcom.describe_uses(key, asked).items():
            self.put("submit", use_key, use)
        value = {
            "kling_task_id": key,
            "route": "image-to-video",
            "asked": asked,
            "task": finished(self.generation),
            "units": 3.0,
            "image_count": 0,
            "video_count": 1,
            "manifest": f"{directory.as_uri()}/manifest.json",
            "conn_id": None,
            "images": [],
            "videos": [{**video, **changes}],
        }
        self.put("archive", xcom.archive_key(key), value)
        return value

    def request(self, pictures: Pictures, task_id: str = "submit", **changes: Any) -> None:
        """Leave what a submitting task leaves."""
        request = {**asked(self.generation, pictures), **changes}
        self.put(task_id, xcom.request_key(self.generation.kling_task_id), request)

    def put(self, task_id: str, key: str, value: Any) -> None:
        """Leave any XCom."""
        from airflow.models.dagrun import DagRun
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        one = self.generation
        with create_session(scoped=False) as session:
            run = session.query(DagRun.id).filter_by(dag_id=one.dag_id, run_id=one.run_id).scalar()
            place = {"dag_run_id": run, "dag_id": one.dag_id, "run_id": one.run_id, "map_index": one.map_index}
            # The newest of all, so that it is on the first page.
            at = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=one.number)
            row = {**place, "task_id": task_id, "key": key, "value": value, "timestamp": at}
            session.execute(XComModel.__table__.insert(), [row])

    def _write_run(self) -> None:
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        one = self.generation
        operators = {
            "submit": "KlingMultiImageToImageOperator",
            "wait": "KlingTaskSensor",
            "archive": "KlingArchiveImagesOperator",
            **self.operators,
        }
        run = {"dag_id": one.dag_id, "run_id": one.run_id, "run_type": "manual", "state": self.run_state}
        with create_session(scoped=False) as session:
            session.execute(DagRun.__table__.insert(), [{**run, "run_after": one.at, "log_template_id": None}])
            place = {"dag_id": one.dag_id, "run_id": one.run_id, "map_index": one.map_index, "pool": "default_pool"}
            instances = [
                {**place, "task_id": task_id, "state": state, "operator": operators.get(task_id, "PythonOperator")}
                for task_id, state in self.states.items()
            ]
            session.execute(TaskInstance.__table__.insert(), instances)
