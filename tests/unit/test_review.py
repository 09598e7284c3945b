"""What a person is asked about archived images, and what is made of the answer; tests/system really asks."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.archive.manifest import Archive, ManifestImage, build_manifest

if AIRFLOW_V_3_1_PLUS:
    from airflow_kling.operators.review import NONE, KlingReviewImagesOperator, describe, read_choice

from_3_1 = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="Airflow asks a person from 3.1 on")
LABELS = {"Image 0": 0, "Image 3": 3}


def archive(*, run: dict[str, Any] | None = None, **request: Any) -> Archive:
    images = [
        ManifestImage(
            index=index,
            uri=f"s3://b/task-1/{index}.png",
            key=f"task-1/{index}.png",
            sha256="a" * 64,
            bytes=10,
            width=768,
            height=1024,
            content_type="image/png",
            source_url="https://h/0.png",
        )
        for index in LABELS.values()
    ]
    manifest = build_manifest({"kling_task_id": "task-1"}, images, request=request, run=run or {})
    return Archive(manifest, "s3://b/task-1/manifest.json")


@pytest.mark.skipif(AIRFLOW_V_3_1_PLUS, reason="this Airflow can ask a person")
def test_older_airflows_are_told_so() -> None:
    with pytest.raises(ImportError, match=r"KlingReviewImagesOperator needs Airflow 3\.1 or newer"):
        import airflow_kling.operators.review  # noqa: F401


@from_3_1
@pytest.mark.parametrize(
    ("chosen", "approved"),
    [([], []), (["Image 3"], [3]), (["Image 3", "Image 0"], [0, 3])],
)
def test_a_choice_is_read(chosen: list[str], approved: list[int]) -> None:
    assert read_choice(chosen, LABELS) == approved
    assert read_choice([NONE], LABELS) == []


@from_3_1
def test_a_contradiction_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="Image 0, None of them were ticked together"):
        read_choice(["Image 0", NONE], LABELS)


@from_3_1
def test_what_the_person_reads() -> None:
    run = {"dag_id": "our dag", "run_id": "manual__2026-01-01T00:00:00+00:00", "task_id": "archive", "map_index": -1}
    text = describe(
        archive(run=run, prompt="a mug\non a table", model_name="kling-v2", aspect_ratio="3:4"), ui="https://host/air/"
    )
    title, prompt, gallery, *pictures = text.split("\n\n")
    assert title == "**Kling task task-1 · kling-v2 · 3:4**"
    assert prompt == "```text\na mug\non a table\n```"
    assert gallery == (
        "[In the gallery](/air/kling/gallery?dag_id=our%20dag"
        "&run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00&kling_task_id=task-1)"
    )
    for position, index in enumerate(LABELS.values()):
        image = (
            "/air/kling/dags/our%20dag/image?run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00&task_id=archive"
            f"&map_index=-1&kling_task_id=task-1&index={index}&size="
        )
        assert pictures[2 * position : 2 * position + 2] == [
            f"**Image {index}**: 768 x 1024, `s3://b/task-1/{index}.png`",
            f"[![Image {index}]({image}thumb)]({image}large)",
        ]
    assert len(pictures) == 2 * len(LABELS)


@from_3_1
def test_what_is_not_known_is_not_shown() -> None:
    text = describe(archive(), ui="/")
    assert text.splitlines()[0] == "**Kling task task-1**"
    assert "](" not in text
    assert "```" not in text


@from_3_1
def test_a_prompt_is_text_and_nothing_else() -> None:
    prompt = "```\n![x](https://evil.example/pixel.png) {{ conn.kling_default.password }} ````"
    lines = describe(archive(prompt=prompt), ui="/").splitlines()
    start = lines.index("`````text")
    assert lines[start + 1 : start + 4] == [*prompt.splitlines(), "`````"]


@from_3_1
def test_the_form_starts_with_nothing_ticked() -> None:
    task = KlingReviewImagesOperator(task_id="review", manifest="{{ params.manifest }}")
    assert task.multiple
    assert task.defaults is None
    assert not {"body", "options"} & set(task.template_fields), "no prompt is ever taken for a template"
