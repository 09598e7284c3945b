"""Every route on both gateways over real HTTP: from the request to results that can be opened, and the bill."""

from __future__ import annotations

import io

import av
import pytest
from PIL import Image

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from tests.unit.emulator.bodies import CASES, TALL, WIDE, body, path
from tests.unit.emulator.calls import download

VIDEOS = ("text-to-video", "image-to-video", "omni-video")


@pytest.fixture(scope="module")
def running():
    with serve(EmulatorConfig(duration=Duration(0.0), image_size=128, fetch_references=False)) as emulator:
        yield emulator


def made(http, route, gateway="official", **changes):
    answer = http.post(path(route, gateway), json=body(route, **changes))
    assert answer.status_code == 200, answer.text
    return http.get(f"{path(route, gateway)}/{answer.json()['data']['task_id']}").json()["data"]


def drawn(result):
    with Image.open(io.BytesIO(download(result["url"]).content)) as image:
        image.load()
        return image


def film(result):
    """Every frame of a video, as Pillow's images, and its facts."""
    answer = download(result["url"])
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as container:
        stream = container.streams.video[0]
        facts = {
            "codec": stream.codec_context.name,
            "pixels": stream.codec_context.pix_fmt,
            "seconds": float(stream.duration * stream.time_base),
            "sound": bool(container.streams.audio),
            "index first": answer.content.find(b"moov") < answer.content.find(b"mdat"),
        }
        return [frame.to_image() for frame in container.decode(stream)], facts


@pytest.mark.parametrize(("route", "gateway"), CASES)
def test_from_the_request_to_the_results(emulator, http, route, gateway):
    task = made(http, route, gateway, external_task_id="mine")
    assert task["task_status"] == "succeed"
    assert task["task_info"] == {"external_task_id": "mine"}
    [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
    assert (entry["route"], entry["gateway"], entry["task_id"]) == (route, gateway, task["task_id"])
    assert task["final_unit_deduction"] == f"{entry['units']:g}"
    if route in VIDEOS:
        [result] = task["task_result"]["videos"]
        assert (result["duration"], "index" in result) == ("5", False)
        assert result["id"]
        frames, facts = film(result)
        assert facts == {"codec": "h264", "pixels": "yuv420p", "seconds": 5.0, "sound": False, "index first": True}
        assert frames[0].tobytes() != frames[-1].tobytes()
    else:
        [result] = task["task_result"]["images"]
        assert result["index"] == 0
        assert max(drawn(result).size) == 128


@pytest.mark.parametrize(
    ("route", "changes", "size"),
    [
        ("text-to-video", {"aspect_ratio": "9:16"}, (72, 128)),
        ("text-to-video", {}, (128, 72)),
        ("image-to-video", {}, (128, 84)),  # the picture's ratio, in even numbers
        ("image-to-video", {"image": TALL}, (84, 128)),
        ("omni-video", {}, (72, 128)),
        ("omni-video", {"image_list": [{"image_url": WIDE, "type": "first_frame"}], "aspect_ratio": None}, (128, 84)),
    ],
)
def test_the_shape_of_videos(http, route, changes, size):
    frames, _ = film(made(http, route, **changes)["task_result"]["videos"][0])
    assert {frame.size for frame in frames} == {size}
