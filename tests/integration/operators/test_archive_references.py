"""What an archive task returns, as the reference of another generation: read from the archive, whole and unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from moto.server import ThreadedMotoServer

from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.operators.omni_video import KlingOmniVideoOperator
from airflow_kling.sensors.task import KlingTaskSensor
from airflow_kling.submission.identity import fingerprint, reference_queries
from tests.clips import clip
from tests.integration.dag_runs import manifests, states

PULLED = "ti.xcom_pull(task_ids='first.archive')"
#: How the images of an archive task may be given as subjects, and which of them are meant.
GIVEN = {
    "output": ("first.output", [0]),
    "twice": ("[first.output, first.output]", [0, 0]),
    "templates": (repr([f"{{{{ {PULLED} }}}}", f"{{{{ {PULLED}['images'][1] }}}}"]), [0, 1]),
    "whole": (repr(f"{{{{ {PULLED} }}}}"), [0]),
    "listed": (repr(f"{{{{ {PULLED}['images'] }}}}"), [0, 1]),
}
DAG = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_kling import kling_image

@task
def each(outputs):
    return list(outputs)

with DAG("NAME", render_template_as_native_obj=NATIVE) as dag:
    first = kling_image("first", subject_images=SUBJECTS, destination=DESTINATION, n=2)
    for name, given in {GIVEN}.items():
        first >> kling_image(name, subject_images=given, destination=DESTINATION, prompt=name)
    pictures = kling_image.partial("pictures", subject_images=SUBJECTS, destination=DESTINATION).expand(
        prompt=["picture 0", "picture 1"]
    )
    kling_image("mapped", subject_images=pictures.output, destination=DESTINATION, prompt="mapped")
    kling_image.partial("one_each", destination=DESTINATION, prompt="one_each").expand(
        subject_images=each(pictures.output)
    )
"""


@pytest.fixture
def large(connect: Callable[..., str], quick: None) -> Iterator[Emulator]:
    """An emulator whose results are large enough to be references, and are there at once."""
    with serve(EmulatorConfig(duration=Duration(0.0), image_size=640)) as emulator:
        connect(emulator, gateway="cometapi-v2")
        yield emulator


def requests(emulator: Emulator) -> dict[str, list[str]]:
    """Hashes of the subjects that were sent, by prompt."""
    tasks = [task["request"] for task in emulator.ledger()["accounts"]["default"]["tasks"]]
    return {
        task.get("prompt", ""): [item["subject_image"]["sha256"] for item in task["subject_image_list"]]
        for task in tasks
    }


@pytest.mark.parametrize("native", [False, True], ids=["as text", "native"])
def test_in_a_dag(native: bool, large: Emulator, run: Any, archive: Path) -> None:
    given = ", ".join(f"{name!r}: {code}" for name, (code, _) in GIVEN.items())
    name = f"archive_references_{native}"
    dag_run = run(name, DAG.replace("GIVEN", given).replace("NATIVE", repr(native)).replace("NAME", name))
    assert {name: state for name, state in states(dag_run).items() if state != "success"} == {}
    by_prompt = {manifest["request"].get("prompt", ""): manifest for manifest in manifests(archive)}
    images = by_prompt[""]["images"]
    sent = requests(large)
    for prompt, (_, indexes) in GIVEN.items():
        assert sent[prompt] == [images[index]["sha256"] for index in indexes]
        assert [(one["source"], one["uri"]) for one in by_prompt[prompt]["request"]["references"]] == [
            ("archive", images[index]["uri"]) for index in indexes
        ]
    pictures = [by_prompt[prompt]["images"][0]["uri"] for prompt in ("picture 0", "picture 1")]
    assert [one["uri"] for one in by_prompt["mapped"]["request"]["references"]] == pictures
    each = [one["request"]["references"] for one in manifests(archive) if one["request"].get("prompt") == "one_each"]
    assert sorted(reference["uri"] for [reference] in each) == sorted(pictures)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket that only the connection ``team_aws`` reaches."""
    extra = {"endpoint_url": moto, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_AWS", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**connection, "extra": {"region_name": "us-east-1"}}))
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=moto, **keys)
    client.create_bucket(Bucket="archive")
    return client


def archived(emulator: Emulator, subjects: list[str], destination: str, **fields: Any) -> dict[str, Any]:
    task_id = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, n=2).execute({})
    return KlingArchiveImagesOperator(task_id="archive", task=task_id, destination=destination, **fields).execute({})


@pytest.mark.parametrize(
    ("destination", "fields"),
    [("s3://archive/kling", {"aws_conn_id": "team_aws"}), ("s3://team_aws@archive/kling", {})],
    ids=["parameter", "address"],
)
def test_s3_is_read_through_the_connection_of_the_archive(
    destination: str, fields: dict[str, Any], large: Emulator, s3: Any, subjects: list[str]
) -> None:
    output = archived(large, subjects, destination, **fields)
    again = KlingMultiImageToImageOperator(
        task_id="again", prompt="again", subject_images=[output, output["images"][1]], scene_image=output["images"]
    )
    again.execute({})
    assert requests(large)["again"] == [image["sha256"] for image in output["images"]]


def test_another_image_in_its_place_is_refused_before_anything_is_sent(
    large: Emulator, s3: Any, subjects: list[str], png: bytes
) -> None:
    output = archived(large, subjects, "s3://archive/kling", aws_conn_id="team_aws")
    s3.put_object(Bucket="archive", Key=output["images"][0]["uri"].removeprefix("s3://archive/"), Body=png)
    with pytest.raises(KlingInputError, match=r"^subject_images\[0\] lies at s3://archive/.* nothing was submitted\.$"):
        KlingMultiImageToImageOperator(task_id="again", prompt="again", subject_images=[output]).execute({})
    assert "again" not in requests(large)


# --- sent as a URL ----------------------------------------------------------------------------------------------------


def urls(emulator: Emulator) -> list[str]:
    [task] = emulator.ledger()["accounts"]["default"]["tasks"]
    return [item["subject_image"] for item in task["request"]["subject_image_list"]]


@pytest.mark.parametrize("given", ["archived", "address", "path object"])
def test_an_object_is_sent_as_a_signed_url_and_kling_can_fetch_it(
    given: str, large: Emulator, s3: Any, png: bytes, ti: Any, plain_logs: Any
) -> None:
    s3.put_object(Bucket="archive", Key="a room/8334/0.png", Body=png)
    address = "s3://team_aws@archive/a room/8334/0.png"
    entry = {
        "uri": "s3://archive/a room/8334/0.png",
        "sha256": hashlib.sha256(png).hexdigest(),
        "conn_id": "team_aws",
    }
    reference = {"archived": entry, "address": address, "path object": ObjectStoragePath(address)}[given]
    task = KlingMultiImageToImageOperator(
        task_id="submit", subject_images=[reference], send_references_as="url", submit_timeout=600
    )
    task.render_template_fields({})
    kling_task_id = task.execute({"ti": ti})
    [url] = urls(large)
    query = dict(parse_qsl(urlsplit(url).query))
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert int(query["X-Amz-Expires"]) == 600 + 3600 + 3600
    wait = KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, deferrable=False, poke_interval=0.05)
    assert wait.execute({"ti": ti})["status"] == "succeed"  # the emulator has fetched it
    [described] = ti.xcoms[f"kling_request_{kling_task_id}"]["references"]
    assert (described["uri"], described["width"]) == ("s3://archive/a room/8334/0.png", 320)
    assert described["sha256"] == entry["sha256"]
    # The server of the storage runs in this process, and logs what it is asked.
    logged = [record.getMessage() for record in plain_logs.records if record.name != "werkzeug"]
    for shown in (json.dumps(ti.xcoms), str(logged), str(vars(task)["subject_images"])):
        assert query["X-Amz-Signature"] not in shown
        assert "X-Amz" not in shown


def test_a_new_signature_is_the_same_input(large: Emulator, s3: Any, png: bytes) -> None:
    s3.put_object(Bucket="archive", Key="a.png", Body=png)
    seen = set()
    for seconds, how in ((600, "url"), (900, "url"), (900, "base64")):
        task = KlingMultiImageToImageOperator(
            task_id="submit",
            subject_images=["s3://team_aws@archive/a.png"],
            send_references_as=how,
            submit_timeout=seconds,
        )
        request, asked, _ = task._request()
        seen.add(fingerprint(asked, reference_queries(task.kling_route, request, asked["references"])))
    assert len(seen) == 1


def test_an_endpoint_that_only_this_network_reaches_is_refused(
    large: Emulator, connect: Callable[..., str], s3: Any, png: bytes
) -> None:
    connect(large, gateway="cometapi-v2", extra={"allow_private_hosts": False})
    s3.put_object(Bucket="archive", Key="a.png", Body=png)
    with pytest.raises(KlingInputError, match=r"^subject_images\[0\] .* 127\.0\.0\.1, which Kling's servers cannot"):
        KlingMultiImageToImageOperator(
            task_id="submit", subject_images=["s3://team_aws@archive/a.png"], send_references_as="url"
        ).execute({})
    assert requests(large) == {}


@pytest.mark.parametrize(
    "reference", ["a.png", "/data/a.png", "file:///data/a.png", b"\x89PNG", "iVBORw0KGgo=", Path("/data/a.png")]
)
def test_what_has_no_url_is_refused_while_parsing(reference: Any) -> None:
    with pytest.raises(KlingInputError, match=r"^scene_image .*send_references_as is 'url'.* nothing was submitted\.$"):
        KlingMultiImageToImageOperator(
            task_id="submit",
            subject_images=["https://h.example/a.png"],
            scene_image=reference,
            send_references_as="url",
        )


@pytest.mark.parametrize("reference", ["{{ params.image }}", "https://h.example/a.png", "gs://bucket/a.png"])
def test_what_may_have_one_passes(reference: Any) -> None:
    KlingMultiImageToImageOperator(task_id="submit", subject_images=[reference], send_references_as="url")


# --- videos -----------------------------------------------------------------------------------------------------------

MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(100)


def omni(model_name: str | None = None, **video: Any) -> KlingOmniVideoOperator:
    return KlingOmniVideoOperator(
        task_id="submit",
        prompt="as <<<video_1>>>",
        model_name=model_name,
        video_list=[{"refer_type": "base", **video}],
    )


def test_a_video_in_storage_is_sent_as_a_signed_url(large: Emulator, s3: Any, ti: Any) -> None:
    s3.put_object(Bucket="archive", Key="8334/0.mp4", Body=MP4)
    video = {"uri": "s3://archive/8334/0.mp4", "sha256": hashlib.sha256(MP4).hexdigest(), "content_type": "video/mp4"}
    output = {"manifest": "s3://archive/8334/manifest.json", "images": [], "videos": [{**video, "conn_id": "team_aws"}]}
    request, asked, _ = omni(video_url=output)._request()
    [sent] = request.video_list
    assert "X-Amz-Signature=" in sent["video_url"]
    assert sent["refer_type"] == "base"
    [described] = asked["references"]
    assert described["uri"] == video["uri"]
    assert (described["kind"], described["kling_task_id"], described["bytes"]) == ("video", "8334", len(MP4))
    assert "X-Amz" not in json.dumps(asked)


@pytest.mark.parametrize(
    ("model", "video", "words"),
    [
        (None, clip(720, 720, 4, rate=2), r"plays 2 s, but model 'kling-video-o1' takes 3 to 10 s"),
        (None, clip(720, 720, 12, rate=1), r"plays 12 s, but model 'kling-video-o1' takes 3 to 10 s"),
        (None, clip(704, 720, 4, rate=1), r"has 704x720 pixels, but model 'kling-video-o1' takes 720 to 2160 a side"),
        (
            "kling-v3-omni",
            clip(720, 640, 4, rate=1),
            r"has 720x640 pixels, but model 'kling-v3-omni' takes 700 to 4553",
        ),
    ],
)
def test_a_video_that_the_model_does_not_take_is_refused(
    large: Emulator, s3: Any, model: str | None, video: bytes, words: str
) -> None:
    s3.put_object(Bucket="archive", Key="8334/0.mp4", Body=video)
    entry = {"uri": "s3://archive/8334/0.mp4", "sha256": hashlib.sha256(video).hexdigest(), "conn_id": "team_aws"}
    for reference in (entry, "s3://team_aws@archive/8334/0.mp4"):
        with pytest.raises(KlingInputError, match=rf"^video_list\[0\] {words}.*; nothing was submitted\.$"):
            omni(video_url=reference, model_name=model).execute({})
    assert requests(large) == {}


@pytest.mark.parametrize(
    ("model", "video"),
    [
        (None, clip(720, 720, 10, rate=1)),
        ("kling-v3-omni", clip(704, 720, 12, rate=1)),
        ("kling-v9", clip(64, 48, 1, rate=1)),
    ],
)
def test_a_video_that_the_model_takes_is_sent(large: Emulator, s3: Any, model: str | None, video: bytes) -> None:
    s3.put_object(Bucket="archive", Key="8334/0.mp4", Body=video)
    _, asked, _ = omni(video_url="s3://team_aws@archive/8334/0.mp4", model_name=model)._request()
    [described] = asked["references"]
    seconds, sides = described["duration"], (described["width"], described["height"])
    assert (seconds, *sides) in [(10, 720, 720), (12, 704, 720), (1, 64, 48)]


def test_a_video_that_is_not_what_was_archived_is_refused(large: Emulator, s3: Any) -> None:
    s3.put_object(Bucket="archive", Key="8334/0.mp4", Body=MP4 + b"more")
    entry = {"uri": "s3://archive/8334/0.mp4", "sha256": hashlib.sha256(MP4).hexdigest(), "conn_id": "team_aws"}
    with pytest.raises(KlingInputError, match=r"^video_list\[0\] lies at .* is not what was archived there"):
        omni(video_url=entry)._request()


@pytest.mark.parametrize("reference", ["/data/a.mp4", "file:///data/a.mp4", MP4, "AAAA"])
def test_a_video_without_a_url_is_refused_while_parsing(reference: Any) -> None:
    with pytest.raises(KlingInputError, match=r"^video_list\[0\] .*Kling takes a video as a URL only"):
        omni(video_url=reference)


# --- ids of 64 bits ---------------------------------------------------------------------------------------------------

IDS = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_kling.operators.omni_image import KlingOmniImageOperator

with DAG("NAME", render_template_as_native_obj=NATIVE, params={"element": 829836802793406551}) as dag:
    @task
    def elements():
        return [{"element_id": 829836802793406551}, {"element_id": "829836802793406553"}]

    known = elements()
    KlingOmniImageOperator(task_id="xcom", prompt="xcom", element_list=known)
    pulled = KlingOmniImageOperator(
        task_id="pulled", prompt="pulled", element_list="{{ ti.xcom_pull(task_ids='elements') }}"
    )
    known >> pulled
    KlingOmniImageOperator(task_id="param", prompt="param", element_list=["{{ params.element }}"])
"""


@pytest.mark.parametrize("native", [False, True], ids=["as text", "native"])
def test_an_id_of_64_bits_stays_whole(native: bool, large: Emulator, run: Any) -> None:
    name = f"ids_{native}"
    dag_run = run(name, IDS.replace("NATIVE", repr(native)).replace("NAME", name))
    assert {name: state for name, state in states(dag_run).items() if state != "success"} == {}
    sent = {
        task["request"]["prompt"]: [int(element["element_id"]) for element in task["request"]["element_list"]]
        for task in large.ledger()["accounts"]["default"]["tasks"]
    }
    both = [829836802793406551, 829836802793406553]
    assert sent == {"xcom": both, "pulled": both, "param": both[:1]}
