"""``KlingMultiImageToImageOperator``: what it sends, refuses, pushes and returns, with and without waiting."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import (
    KlingBadRequestError,
    KlingContentRejectedError,
    KlingError,
    KlingInputError,
    KlingTaskFailed,
)
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.triggers.task import KlingTaskTrigger

URL = "https://example.com/a.png"


def operator(**fields: Any) -> KlingMultiImageToImageOperator:
    return KlingMultiImageToImageOperator(task_id="submit", **{"subject_images": [URL, URL], **fields})


def rendered(task: KlingMultiImageToImageOperator, **params: Any) -> KlingMultiImageToImageOperator:
    context: Any = {"params": params, "run_id": "manual__2027", **params}
    task.render_template_fields(context)
    return task


def ledger(emulator: Emulator) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = emulator.ledger()["accounts"]["default"]["tasks"]
    return tasks


def asked(emulator: Emulator) -> dict[str, Any]:
    [entry] = ledger(emulator)
    request: dict[str, Any] = entry["request"]
    return request


# --- references -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, png: bytes, jpeg: bytes) -> Path:
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "b.jpg").write_bytes(jpeg)
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


KINDS: dict[str, Callable[[Path, str, bytes], Any]] = {
    "url": lambda folder, site, png: f"{site}/a.png",
    "path as text": lambda folder, site, png: str(folder / "a.png"),
    "path object": lambda folder, site, png: folder / "a.png",
    "object storage URL": lambda folder, site, png: f"file://{folder}/a.png",
    "ObjectStoragePath": lambda folder, site, png: ObjectStoragePath(f"file://{folder}/a.png"),
    "bytes": lambda folder, site, png: png,
    "base64": lambda folder, site, png: base64.b64encode(png).decode(),
    "data URL": lambda folder, site, png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_reference_reaches_the_api(
    kind: str, kling: Emulator, folder: Path, site: str, png: bytes, ti: Any
) -> None:
    import hashlib

    reference = KINDS[kind](folder, site, png)
    task_id = operator(subject_images=[reference, str(folder / "b.jpg")], scene_image=reference).execute({"ti": ti})
    request = asked(kling)
    if kind == "url":
        assert request["subject_image_list"][0]["subject_image"] == request["scence_image"] == f"{site}/a.png"
    else:
        same = {"sha256": hashlib.sha256(png).hexdigest(), "bytes": len(png)}
        assert request["subject_image_list"][0]["subject_image"] == request["scence_image"] == same
    described = ti.xcoms[f"kling_request_{task_id}"]["references"]
    assert [reference["name"] for reference in described] == ["subject_images[0]", "subject_images[1]", "scene_image"]
    assert base64.b64encode(png).decode()[:60] not in json.dumps(ti.xcoms)


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2", "official"])
def test_every_field_reaches_the_api(
    gateway: str, emulator: Emulator, connect: Callable[..., str], subjects: list[str], ti: Any
) -> None:
    connect(emulator, gateway=gateway)
    newer = {} if gateway == "cometapi" else {"negative_prompt": "blurred", "watermark_info": {"enabled": True}}
    fields = {
        "prompt": "two friends",
        "model_name": "kling-v2",
        "n": 2,
        "aspect_ratio": "3:4",
        "callback_url": "http://127.0.0.1:9/callback",
        **newer,
    }
    operator(subject_images=subjects, scene_image=subjects[0], style_image=subjects[1], **fields).execute({"ti": ti})
    request = asked(emulator)
    assert {name: request[name] for name in fields} == fields
    assert "scence_image" in request if gateway == "cometapi" else "scene_image" in request
    assert "style_image" in request
    [entry] = ledger(emulator)
    assert entry["gateway"] == gateway


# --- XCom -------------------------------------------------------------------------------------------------------------


def test_id_and_description_are_pushed(kling: Emulator, subjects: list[str], ti: Any) -> None:
    secret = "https://example.com/callback?secret=s"
    task = operator(subject_images=[subjects[0], f"{URL}?token=t"], prompt="two friends", n=2, callback_url=secret)
    task_id = task.execute({"ti": ti})
    assert task_id == ledger(kling)[0]["task_id"]
    assert set(ti.xcoms) - {"kling_gallery_link"} == {"kling_task_id", f"kling_request_{task_id}"}
    assert ti.xcoms["kling_task_id"] == task_id
    description = ti.xcoms[f"kling_request_{task_id}"]
    assert description["prompt"] == "two friends"
    assert description["n"] == 2
    assert description["aspect_ratio"] == "16:9"
    assert description["model_name"] == "kling-v2"
    assert description["gateway"] == "cometapi"
    assert description["references"][1] == {"name": "subject_images[1]", "source": "url", "uri": URL}
    text = json.dumps(ti.xcoms)
    assert len(text) < 4096
    assert "token=" not in text
    assert "secret=" not in text
    assert subjects[0][:60] not in text


def test_it_runs_without_a_task_instance(kling: Emulator, subjects: list[str]) -> None:
    task_id = operator(subject_images=subjects, external_task_id="mine").execute({})
    assert [entry["task_id"] for entry in ledger(kling)] == [task_id]
    assert asked(kling)["external_task_id"] == "mine"


# --- templates --------------------------------------------------------------------------------------------------------


def test_every_field_of_the_api_is_templated(
    kling: Emulator, connect: Callable[..., str], folder: Path, ti: Any
) -> None:
    connect(kling, conn_id="team", gateway="cometapi-v2")
    task = rendered(
        operator(
            subject_images=["{{ params.folder }}/a.png", "{{ params.folder }}/b.jpg"],
            prompt="{{ params.prompt }}",
            model_name="{{ params.model }}",
            scene_image="{{ params.folder }}/a.png",
            style_image="{{ params.nothing }}",
            n="{{ params.n }}",
            aspect_ratio="{{ params.ratio }}",
            negative_prompt="{{ params.negative }}",
            callback_url="http://127.0.0.1:9/{{ run_id }}",
            kling_conn_id="{{ params.conn }}",
        ),
        folder=folder,
        prompt="two friends",
        model="kling-v2-1",
        nothing="",
        n=2,
        ratio="1:1",
        negative="blurred",
        conn="team",
    )
    task.execute({"ti": ti})
    request = asked(kling)
    assert request["prompt"] == "two friends"
    assert request["model_name"] == "kling-v2-1"
    assert request["n"] == 2
    assert request["aspect_ratio"] == "1:1"
    assert request["negative_prompt"] == "blurred"
    assert request["callback_url"] == "http://127.0.0.1:9/manual__2027"
    assert "scene_image" in request
    assert "style_image" not in request
    assert ledger(kling)[0]["gateway"] == "cometapi-v2"


def test_list_that_a_template_renders_to_text(kling: Emulator, folder: Path) -> None:
    images = [f"{folder}/a.png", f"{folder}/b.jpg"]
    rendered(operator(subject_images="{{ params.images }}"), images=images).execute({})
    assert len(asked(kling)["subject_image_list"]) == 2


def test_list_that_a_template_renders_to_json(kling: Emulator, folder: Path) -> None:
    images = [f"{folder}/a.png", f"{folder}/b.jpg"]
    rendered(operator(subject_images="{{ params.images | tojson }}"), images=images).execute({})
    assert len(asked(kling)["subject_image_list"]) == 2


def test_list_that_a_template_renders_natively(kling: Emulator, folder: Path) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        task = operator(subject_images="{{ params.images }}", n="{{ params.n }}")
    rendered(task, images=[f"{folder}/a.png", f"{folder}/b.jpg"], n=3).execute({})
    assert asked(kling)["n"] == 3


def test_base64_is_not_taken_for_a_template(kling: Emulator, subjects: list[str]) -> None:
    rendered(operator(subject_images=subjects)).execute({})
    assert len(asked(kling)["subject_image_list"]) == 2


# --- bad input --------------------------------------------------------------------------------------------------------

LITERALS: list[tuple[dict[str, Any], str]] = [
    ({"subject_images": []}, "subject_images has 0 entries, at least 1 is needed"),
    ({"subject_images": [URL] * 5}, "subject_images has 5 entries, at most 4 are allowed"),
    ({"subject_images": [URL, "ftp://example.com/a.png"]}, "subject_images[1] has the unsupported scheme ftp://"),
    ({"subject_images": [URL, ""]}, "subject_images[1] is empty"),
    ({"scene_image": "ftp://example.com/a.png"}, "scene_image has the unsupported scheme ftp://"),
    ({"prompt": "x" * 2501}, "prompt has 2501 characters, at most 2500 are allowed"),
    ({"negative_prompt": "x" * 2501}, "negative_prompt has 2501 characters, at most 2500 are allowed"),
    ({"n": 10}, "n is 10, the greatest is 9"),
    ({"n": 0}, "n is 0, the least is 1"),
    ({"aspect_ratio": "5:4"}, "aspect_ratio is '5:4', must be one of"),
    ({"callback_url": "ftp://example.com"}, "is not an http(s) URL"),
    ({"on_unknown": "ignore"}, "on_unknown is 'ignore', must be one of fail, resubmit"),
    ({"on_clear": "old"}, "on_clear is 'old', must be one of new, reuse"),
    ({"on_input_change": "x"}, "on_input_change is 'x', must be one of fail, new"),
]


@pytest.mark.parametrize(("fields", "words"), LITERALS, ids=[words[:40] for _, words in LITERALS])
def test_wrong_literals_are_found_when_the_dag_is_parsed(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        operator(**fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(".") <= 3


def test_parsing_needs_no_connection() -> None:
    operator(kling_conn_id="there_is_no_such_connection")


AT_RUN_TIME: list[tuple[dict[str, Any], str]] = [
    ({"n": "{{ 10 }}"}, "n is '10', the greatest is 9"),
    ({"n": "{{ 'two' }}"}, "n is a str"),
    ({"aspect_ratio": "{{ '5:4' }}"}, "aspect_ratio is '5:4'"),
    ({"prompt": "{{ 'x' * 2501 }}"}, "prompt has 2501 characters"),
    ({"subject_images": "{{ [] }}"}, "subject_images has 0 entries"),
    ({"subject_images": "{{ 'https://example.com/a.png' }}"}, "subject_images is a single text"),
    ({"subject_images": ["{{ 'https://example.com/a.png' }}"]}, "has 1 image(s), but gateway 'cometapi' takes 2 to 4"),
    ({"subject_images": ["{{ 'ftp://example.com/a.png' }}", URL]}, "subject_images[0] has the unsupported scheme"),
    ({"subject_images": ["no/such/file.png", URL]}, "subject_images[0]"),
    ({"subject_images": ["s3://{{ 'bucket' }}/a.png", URL], "n": "{{ 0 }}"}, "n is '0', the least is 1"),
    ({"negative_prompt": "blurred"}, "negative_prompt is given, but gateway 'cometapi' does not take it"),
    ({"callback_url": "{{ 'ftp://example.com' }}"}, "callback_url"),
]


@pytest.mark.parametrize(("fields", "words"), AT_RUN_TIME, ids=[words[:40] for _, words in AT_RUN_TIME])
def test_wrong_input_at_run_time_submits_nothing_and_is_not_retried(
    fields: dict[str, Any], words: str, kling: Emulator, ti: Any
) -> None:
    task = rendered(operator(**fields))
    with pytest.raises(KlingInputError) as caught:
        task.execute({"ti": ti})
    assert isinstance(caught.value, AirflowFailException)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kling.ledger()["requests"]["create"] == 0
    assert ti.xcoms == {}


def test_small_image_is_refused_before_it_costs_anything(kling: Emulator, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (299, 400)).save(tmp_path / "small.png")
    with pytest.raises(KlingInputError, match=r"subject_images\[1\] has 299x400 px, under the limit of 300 px"):
        operator(subject_images=[URL, tmp_path / "small.png"]).execute({})
    assert kling.ledger()["requests"]["create"] == 0


def test_missing_file_in_object_storage_names_the_image(kling: Emulator, tmp_path: Path) -> None:
    with pytest.raises(KlingInputError, match=r"subject_images\[0\] cannot be read from file://.*none\.png"):
        operator(subject_images=[f"file://{tmp_path}/none.png", URL]).execute({})
    assert kling.ledger()["requests"]["create"] == 0


@pytest.mark.parametrize(("code", "kind"), [(1201, KlingBadRequestError), (1301, KlingContentRejectedError)])
def test_refusal_of_the_api_is_not_retried(
    code: int, kind: type[KlingError], kling: Emulator, subjects: list[str], ti: Any
) -> None:
    kling.faults.add(on="create", action="error", code=code)
    with pytest.raises(kind, match="Nothing was created") as caught:
        operator(subject_images=subjects).execute({"ti": ti})
    assert isinstance(caught.value, AirflowFailException)
    assert kling.ledger()["requests"]["create"] == 1


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_waiting_on_the_worker_returns_the_finished_task(
    kling: Emulator, subjects: list[str], ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        kling.advance(40)

    task = operator(
        subject_images=subjects, n=2, wait_for_completion=True, deferrable=False, poke_interval=7, timeout=900
    )
    monkeypatch.setattr(time, "sleep", sleep)
    finished = task.execute({"ti": ti})
    assert slept == [7, 7, 7]
    assert finished["kling_task_id"] == ti.xcoms["kling_task_id"]
    assert finished["status"] == "succeed"
    assert [image["index"] for image in finished["images"]] == [0, 1]
    assert finished["unit_deduction"] == "32"
    assert kling.ledger()["requests"]["create"] == 1


def test_waiting_on_the_worker_ends_at_the_deadline(
    kling: Emulator, subjects: list[str], ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    task = operator(subject_images=subjects, wait_for_completion=True, deferrable=False, poke_interval=20, timeout=50)
    with pytest.raises(AirflowSensorTimeout, match=r"not finished after 50 s.*running on and will be billed"):
        task.execute({"ti": ti})
    assert clock[0] == pytest.approx(now + 50)
    assert kling.ledger()["requests"]["query"] == 4
    assert kling.ledger()["totals"]["created"] == 1


def test_waiting_on_the_worker_tolerates_passing_errors_and_keeps_to_retry_after(
    kling: Emulator, subjects: list[str], ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        kling.advance(40)

    kling.faults.add(on="query", action="error", code=1302, retry_after=33, times=1)
    kling.faults.add(on="query", action="drop", times=1)
    task = operator(subject_images=subjects, wait_for_completion=True, deferrable=False, poke_interval=7, timeout=900)
    monkeypatch.setattr(time, "sleep", sleep)
    assert task.execute({"ti": ti})["status"] == "succeed"
    assert slept == [33, 7, 7]


def test_failed_generation(kling: Emulator, subjects: list[str], ti: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kling.faults.add(action="fail_task", message="Image pixel is invalid")
    task = operator(subject_images=subjects, wait_for_completion=True, deferrable=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: kling.advance(120))
    with pytest.raises(KlingTaskFailed, match="Image pixel is invalid") as caught:
        task.execute({"ti": ti})
    assert caught.value.kling_task_id == ti.xcoms["kling_task_id"]
    assert not isinstance(caught.value, AirflowFailException)


def test_waiting_deferred_hands_over_to_the_trigger(kling: Emulator, subjects: list[str], ti: Any) -> None:
    task = operator(
        subject_images=subjects,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=timedelta(seconds=7),
        timeout=timedelta(minutes=10),
    )
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": ti})
    trigger = deferred.value.trigger
    assert isinstance(trigger, KlingTaskTrigger)
    assert trigger.kling_task_id == ti.xcoms["kling_task_id"]
    assert trigger.poke_interval == 7
    assert before + 600 <= trigger.deadline <= time.time() + 600
    assert deferred.value.method_name == "execute_complete"
    json.dumps(deferred.value.kwargs)

    kling.advance(120)
    finished = operator(subject_images=subjects).execute_complete({}, {"status": "whatever"}, **deferred.value.kwargs)
    assert finished["status"] == "succeed"
    assert finished["kling_task_id"] == trigger.kling_task_id
    assert kling.ledger()["requests"]["create"] == 1


def test_task_that_is_finished_at_once_needs_no_trigger(
    kling: Emulator, subjects: list[str], ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = ti.xcom_push
    monkeypatch.setattr(ti, "xcom_push", lambda **pushed: push(**pushed) or kling.advance(60))
    task = operator(subject_images=subjects, wait_for_completion=True, deferrable=True)
    assert task.execute({"ti": ti})["status"] == "succeed"


def test_killing_a_waiting_task_says_that_the_generation_runs_on(
    kling: Emulator, subjects: list[str], ti: Any, plain_logs: pytest.LogCaptureFixture
) -> None:
    task = operator(subject_images=subjects, wait_for_completion=True, deferrable=True)
    task.on_kill()
    assert "runs on" not in plain_logs.text
    with pytest.raises(TaskDeferred):
        task.execute({"ti": ti})
    task.on_kill()
    assert "no cancel call" in plain_logs.text
    assert ti.xcoms["kling_task_id"] in plain_logs.text
