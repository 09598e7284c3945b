"""Writes generations that nobody can show: images in a storage without an answer, references that decode for ever."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from airflow_kling.api.tasks import KlingTask
from airflow_kling.reporting import xcom
from tests.integration.plugins.gallery.seed import Generation, Pictures, asked, finished, seed

DAG_ID = "hostile"
COUNT = 10
REFERENCES = 6
DEAD_CONN_ID = "dead_s3"


def many_scans(side: int, scans: int, *, shade: int = 0) -> bytes:
    """Return a small JPEG that takes long to decode: its first scan again and again, each over all pixels."""
    out = io.BytesIO()
    Image.new("L", (side, side), shade).save(out, "JPEG", progressive=True)
    content = out.getvalue()
    begin = content.index(b"\xff\xda")
    end = begin + 2
    while content[end] != 0xFF or content[end + 1] in (0, *range(0xD0, 0xD8)):
        end += 1
    return content[:begin] + content[begin:end] * scans + content[end:]


def hostile_archive(one: Generation, pictures: Pictures, folder: Path) -> dict[str, Any]:
    """Return what the XCom of an archive task says."""
    key = one.kling_task_id
    summary = pictures.archive(one, on_disk=False)
    summary["manifest"] = f"s3://dead/{key}/manifest.json"
    summary["images"] = [{**image, "uri": f"s3://dead/{key}/{image['index']}.png"} for image in summary["images"]]
    references = []
    for number in range(REFERENCES):
        content = many_scans(2000, 200, shade=(one.number * REFERENCES + number) % 256)
        file = folder / f"{key}-{number}.jpg"
        file.write_bytes(content)
        described = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        references.append({"name": "subject_images[0]", "source": "file", "uri": f"file://{file}", **described})
    request = {**asked(one, pictures), "references": references}
    task = KlingTask.from_xcom(finished(one))
    return xcom.describe_archive(summary, task=task, asked=request, conn_id=DEAD_CONN_ID)


def main(folder: str) -> None:
    """Fill the database of ``AIRFLOW_HOME``."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    pictures = Pictures(Path(folder), side=64, kinds=1)
    generations = [Generation(500_000 + number, DAG_ID, f"run-{number}") for number in range(COUNT)]
    with create_session(scoped=False) as session:
        seed(session, generations, pictures)
        for one in generations:
            value = hostile_archive(one, pictures, Path(folder))
            of_one = XComModel.__table__.update().where(XComModel.key == xcom.archive_key(one.kling_task_id))
            session.execute(of_one.values(value=value))


if __name__ == "__main__":
    main(*sys.argv[1:])
