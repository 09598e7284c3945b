"""Rendered template fields, as Airflow stores and shows them: without signature, token or payload."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_kling.emulator import Emulator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator

pytestmark = pytest.mark.usefixtures("quick", "airflow_home")

SIGNED = "https://example.com/a.png?X-Amz-Signature=DISTINCTIVE"
CALLBACK = "http://127.0.0.1:9/hooks/DISTINCTIVE?token=DISTINCTIVE"

DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_kling.operators.generate import KlingMultiImageToImageOperator

with DAG("NAME", schedule=None, params={"signed": SIGNED, "callback": CALLBACK}) as dag:
    common = {"callback_url": "{{ params.callback }}", "scene_image": "{{ params.signed }}"}
    images = ["{{ params.signed }}", "{{ params.signed }}"]
    KlingMultiImageToImageOperator(
        task_id="one", prompt="x", subject_images=images, style_image=PAYLOAD, **common
    )
    KlingMultiImageToImageOperator.partial(task_id="many", subject_images=images, **common).expand(prompt=["a", "b"])
"""


def noise() -> bytes:
    """A PNG whose base64 is long."""
    out = io.BytesIO()
    Image.effect_noise((320, 320), 90).convert("RGB").save(out, "PNG")
    return out.getvalue()


def stored(dag_id: str) -> list[str]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(RenderedTaskInstanceFields).filter_by(dag_id=dag_id).all()
        return [json.dumps(row.rendered_fields, default=str) for row in rows]


def test_what_airflow_stores_of_a_run(fast: Emulator, load_dag: Any) -> None:
    payload = "data:image/png;base64," + base64.b64encode(noise()).decode()
    values = {"SIGNED": repr(SIGNED), "CALLBACK": repr(CALLBACK), "PAYLOAD": repr(payload), "NAME": "kling_shown"}
    source = DAG
    for name, value in values.items():
        source = source.replace(name, value)
    run = load_dag("kling_shown", source).test()
    assert str(run.state).endswith("success")
    for text in stored("kling_shown"):
        assert "DISTINCTIVE" not in text
        assert len(text) < 3000
        assert "https://example.com/a.png" in text
    tasks = fast.ledger()["accounts"]["default"]["tasks"]
    assert len(tasks) == 3
    for task in tasks:
        sent = json.dumps(task["request"])
        assert sent.count(SIGNED) == 3
        assert CALLBACK in sent


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("{{ [params.url, params.url] }}", ["https://example.com/a.png"] * 2),
        ('["{{ params.url }}", "{{ params.url }}"]', ["https://example.com/a.png"] * 2),
        (["{{ params.url }}", b"123"], ["https://example.com/a.png", "<3 bytes>"]),
        ([Path("/a/b.png"), "data:image/png;base64,QUJD"], ["/a/b.png", "data:image/png;base64,<26 characters>"]),
        (["s3://team@bucket/a.png", "iVBORw0KGgo="], ["s3://bucket/a.png", "<12 characters>"]),
    ],
)
def test_what_is_shown_of_references(given: Any, shown: list[str]) -> None:
    task = KlingMultiImageToImageOperator(task_id="x", subject_images=given, callback_url="{{ params.url }}")
    for _ in range(2):  # a second rendering begins with the real values
        task.render_template_fields({"params": {"url": SIGNED}})
        assert task.subject_images == shown
        assert task.callback_url == "https://example.com/..."
        fields = task._fields()
        assert fields["callback_url"] == SIGNED
        assert "..." not in str(fields["subject_images"])
        assert ("DISTINCTIVE" in str(fields["subject_images"])) == ("params.url" in str(given))
