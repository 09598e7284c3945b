"""What a person is asked about archived images, and what is made of the answer; tests/airflow/system really asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS
from markdown_it import MarkdownIt

from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.manifest import Archive, ManifestImage, ManifestVideo, Poster, build_manifest
from airflow_kling.storage.open import open_store

if AIRFLOW_V_3_1_PLUS:
    from airflow_kling.operators import review
    from airflow_kling.operators.review import NONE, KlingReviewImagesOperator, describe, read_choice

from_3_1 = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="Airflow asks a person from 3.1 on")
LABELS = {"Image 0": 0, "Image 3": 3}
STORE = open_store("s3://b")
SHA256 = "0123456789abcdef" * 4


def archive(*, run: dict[str, Any] | None = None, **request: Any) -> Archive:
    images = [
        ManifestImage(
            index=index,
            uri=f"s3://b/task-1/{index}.png",
            key=f"task-1/{index}.png",
            sha256=SHA256,
            bytes=10,
            width=768,
            height=1024,
            content_type="image/png",
            source_url="https://h/0.png",
        )
        for index in LABELS.values()
    ]
    manifest = build_manifest(KlingTask(kling_task_id="task-1"), images, request=request, run=run or {})
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
        archive(run=run, prompt="a mug\non a table", model_name="kling-v2", aspect_ratio="3:4"),
        STORE,
        ui="https://host/air/",
    )
    title, prompt, gallery, *pictures = text.split("\n\n")
    assert title == "**Kling task task-1** · `kling-v2` · `3:4`"
    assert prompt == "```text\na mug\non a table\n```"
    assert gallery == (
        "[In the gallery](/air/kling/gallery?dag_id=our%20dag"
        "&run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00&kling_task_id=task-1)"
    )
    for position, index in enumerate(LABELS.values()):
        image = (
            "/air/kling/dags/our%20dag/image?run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00&task_id=archive"
            f"&map_index=-1&kling_task_id=task-1&index={index}&v={SHA256[:12]}&size="
        )
        assert pictures[2 * position : 2 * position + 2] == [
            f"**Image {index}**: 768 x 1024, `s3://b/task-1/{index}.png`",
            f"[![Image {index}]({image}thumb)]({image}large)",
        ]
    assert len(pictures) == 2 * len(LABELS)


@from_3_1
def test_what_is_not_known_is_not_shown() -> None:
    text = describe(archive(), STORE, ui="/")
    assert text.splitlines()[0] == "**Kling task task-1**"
    assert "](" not in text
    assert "```" not in text


@from_3_1
def test_a_prompt_is_text_and_nothing_else() -> None:
    prompt = "```\n![x](https://evil.example/pixel.png) {{ conn.kling_default.password }} ````"
    lines = describe(archive(prompt=prompt), STORE, ui="/").splitlines()
    start = lines.index("`````text")
    assert lines[start + 1 : start + 4] == [*prompt.splitlines(), "`````"]


@from_3_1
def test_a_manifest_from_elsewhere_shows_no_picture_of_its_own() -> None:
    """Rendered as CommonMark does: the only pictures and links are those of the gallery."""
    pixel = "![p](https://evil.example/pixel.png)"
    odd = f"` {pixel} `` {pixel}\n\n{pixel} <{pixel}> [l](https://evil.example) https://evil.example"
    run = {name: odd for name in ("dag_id", "run_id", "task_id", "map_index")}
    for model, ratio in [(odd, odd), (" ", odd), (odd, "``"), (["`", pixel], {"a": pixel})]:
        found = archive(run=run, model_name=model, aspect_ratio=ratio, prompt=odd)
        images = tuple(image.model_copy(update={"uri": f"x` {pixel} `"}) for image in found.manifest.images)
        text = describe(Archive(found.manifest.model_copy(update={"images": images}), found.uri), STORE, ui="/")
        tokens = [child for token in MarkdownIt("commonmark").parse(text) for child in token.children or ()]
        pictures = [token.attrs["src"] for token in tokens if token.type == "image"]
        links = [token.attrs["href"] for token in tokens if token.type == "link_open"]
        assert len(pictures) == len(LABELS)
        assert len(links) == len(LABELS) + 1
        assert {str(url).split("/")[1] for url in (*pictures, *links)} == {"kling"}
        assert "s3://b/task-1/3.png" in [token.content for token in tokens if token.type == "code_inline"]


@from_3_1
@pytest.mark.parametrize("prompt", [7, ["a"], {"a": 1}])
def test_a_prompt_that_is_no_text_is_shown_as_one(prompt: Any) -> None:
    assert f"```text\n{prompt}\n```" in describe(archive(prompt=prompt), STORE, ui="/")


@from_3_1
@pytest.mark.parametrize("known", [True, False], ids=["new provider", "provider of 3.1's time"])
def test_the_time_to_answer_is_what_the_standard_provider_reads(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it knew ``response_timeout``, it read ``execution_timeout`` for it when it asked."""
    if known > review.HAS_RESPONSE_TIMEOUT:
        pytest.skip("the installed provider does not know it")
    monkeypatch.setattr(review, "HAS_RESPONSE_TIMEOUT", known)
    monkeypatch.setattr(KlingReviewImagesOperator, "_open", lambda _: (archive(), STORE))
    monkeypatch.setattr(review.HITLOperator, "execute", lambda operator, _: operator)
    operator = KlingReviewImagesOperator(task_id="r", manifest="s3://b/m.json", response_timeout=timedelta(days=3))
    # Only now: making the first operator of a process lets Airflow 3.1 read the settings of modules that it imports.
    monkeypatch.setattr(review.conf, "get", lambda *_, **__: "/")
    assert operator.execution_timeout is None, "the worker's own process has no limit"
    asking = operator.execute({})
    assert asking.response_timeout == timedelta(days=3)
    assert asking.execution_timeout == (None if known else timedelta(days=3))


@from_3_1
def test_the_form_starts_with_nothing_ticked() -> None:
    task = KlingReviewImagesOperator(task_id="review", manifest="{{ params.manifest }}")
    assert task.multiple
    assert task.defaults is None
    assert not {"body", "options"} & set(task.template_fields), "no prompt is ever taken for a template"


def clips() -> Archive:
    sides = {"width": 640, "height": 360}
    run = {"dag_id": "d", "run_id": "r", "task_id": "archive", "map_index": -1}
    poster = Poster(uri="s3://b/p", key="task-1/0.poster.jpg", sha256="f" * 64, bytes=1, content_type="j", **sides)
    videos = [
        ManifestVideo(
            index=index,
            uri=f"s3://b/task-1/{index}.mp4",
            key=f"task-1/{index}.mp4",
            sha256=SHA256,
            bytes=10,
            content_type="video/mp4",
            source_url="https://h/0.mp4",
            duration=5.04,
            codec="avc1",
            poster=poster if index == 0 else None,
            **sides,
        )
        for index in (0, 1)
    ]
    manifest = build_manifest(KlingTask(kling_task_id="task-1"), videos, request={}, run=run)
    return Archive(manifest, "s3://b/task-1/manifest.json")


@from_3_1
def test_a_video_is_shown_by_its_poster_and_leads_to_the_player() -> None:
    text = describe(clips(), STORE, ui="/")
    place = "run_id=r&task_id=archive&map_index=-1&kling_task_id=task-1"
    video = "/kling/dags/d/video?" + place + "&index={}&v=" + SHA256[:12]
    poster = f"/kling/dags/d/poster?{place}&index=0&v=ffffffffffff&size=thumb"
    assert text.split("\n\n")[2:] == [
        "**Video 0**: 640 x 360, 5.0 s, `s3://b/task-1/0.mp4`",
        f"[![Video 0]({poster})]({video.format(0)})",
        "**Video 1**: 640 x 360, 5.0 s, `s3://b/task-1/1.mp4`",
        f"[Play]({video.format(1)})",
    ]


@from_3_1
def test_a_choice_of_videos_is_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KlingReviewImagesOperator, "_open", lambda _: (clips(), STORE))
    monkeypatch.setattr(review.HITLOperator, "execute", lambda operator, _: operator)
    monkeypatch.setattr(review.conf, "get", lambda *_, **__: "/")
    asking = KlingReviewImagesOperator(task_id="r", manifest="s3://b/m.json").execute({})
    assert asking.subject.startswith("Which videos may be published?")
    assert asking.options == ["Video 0", "Video 1", NONE]
    assert read_choice(["Video 1"], {"Video 0": 0, "Video 1": 1}) == [1]
