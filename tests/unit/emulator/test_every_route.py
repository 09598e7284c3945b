"""Every route on both gateways over real HTTP: from the request to results that can be opened, and the bill."""

from __future__ import annotations

import io

import av
import pytest
from PIL import Image

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from tests.unit.emulator.bodies import CASES, PATHS, TALL, WIDE, body, path
from tests.unit.emulator.calls import client, download
from tests.unit.emulator.test_background import site

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
    ("changes", "seconds", "sound"),
    [
        ({"duration": "3"}, 3, False),
        ({"duration": "10", "sound": "on"}, 10, True),
        ({"model_name": "kling-v2-6", "mode": "pro", "duration": "10", "sound": "on"}, 10, True),
    ],
)
def test_videos_last_as_long_as_asked(http, changes, seconds, sound):
    [result] = made(http, "text-to-video", **changes)["task_result"]["videos"]
    frames, facts = film(result)
    assert (result["duration"], facts["seconds"], facts["sound"]) == (str(seconds), seconds, sound)
    assert len(frames) == 12 * seconds


def colour(image, x, y):
    """The colour at a place given in parts of the sides."""
    return image.convert("RGB").getpixel((round(x * (image.width - 1)), round(y * (image.height - 1))))


def near(first, second):
    return all(abs(a - b) < 40 for a, b in zip(first, second, strict=True))


ORANGE, TEAL = (255, 165, 0), (0, 128, 128)


def test_a_clip_shows_its_picture_and_turns_into_the_last_one(http):
    frames, _ = film(made(http, "image-to-video", image_tail=TALL)["task_result"]["videos"][0])
    assert near(colour(frames[0], 0.5, 0.3), ORANGE)
    assert near(colour(frames[-1], 0.5, 0.3), TEAL)


def test_an_omni_video_begins_with_its_first_frame_and_ends_with_the_last(http):
    images = [{"image_url": TALL, "type": "end_frame"}, {"image_url": WIDE, "type": "first_frame"}]
    frames, _ = film(made(http, "omni-video", image_list=images)["task_result"]["videos"][0])
    assert near(colour(frames[0], 0.5, 0.3), ORANGE)
    assert near(colour(frames[-1], 0.5, 0.3), TEAL)


def test_an_expansion_shows_the_picture_inside_what_was_added(http):
    """480 x 320, half of the height above, a quarter of the width on each side: 720 x 480."""
    image = drawn(made(http, "image-expansion")["task_result"]["images"][0])
    assert image.size == (128, 85)
    assert near(colour(image, 0.5, 0.6), ORANGE)
    row = [image.convert("RGB").getpixel((x, 51)) for x in range(128)]
    assert [x for x, pixel in enumerate(row) if pixel == (255, 255, 255)] == [21, 105]  # the border
    assert not near(colour(image, 0.08, 0.6), ORANGE)


def test_a_try_on_shows_the_garment_on_the_person(http):
    image = drawn(made(http, "virtual-try-on")["task_result"]["images"][0])
    assert image.size == (85, 128)
    assert near(colour(image, 0.5, 0.35), ORANGE)
    assert near(colour(image, 0.5, 0.1), TEAL)


@pytest.mark.parametrize(("amount", "count"), [(None, 4), (2, 2), (9, 9), ("auto", 3)])
def test_a_series(emulator, http, amount, count):
    task = made(http, "omni-image", result_type="series", series_amount=amount, n=9)
    assert task["task_result"]["result_type"] == "series"
    assert task["task_result"].keys() == {"result_type", "series_images"}
    images = task["task_result"]["series_images"]
    assert [image["index"] for image in images] == list(range(count))
    assert len({drawn(image).tobytes() for image in images}) == count
    [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
    assert (entry["n"], entry["units"]) == (count, 8 * count)


def test_a_single_omni_image_says_so(http):
    result = made(http, "omni-image", n=2)["task_result"]
    assert (result["result_type"], len(result["images"])) == ("single", 2)


def test_watermarked_videos(http):
    [result] = made(http, "text-to-video", watermark_info={"enabled": True}, duration="3")["task_result"]["videos"]
    assert download(result["url"]).content != download(result["watermark_url"]).content


def test_a_video_is_downloaded_in_parts(http):
    [result] = made(http, "text-to-video", duration="3")["task_result"]["videos"]
    whole = download(result["url"])
    rest = download(result["url"], headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])


@pytest.mark.parametrize("route", PATHS)
def test_lists_and_external_ids(http, route):
    task = made(http, route, external_task_id="mine")
    [listed] = http.get(path(route, "official")).json()["data"]
    assert listed["task_id"] == task["task_id"]
    assert http.get(f"{path(route, 'official')}/mine").json()["data"]["task_id"] == task["task_id"]
    answer = http.get(f"{path(route, 'cometapi')}/mine")
    assert (answer.status_code, answer.json()["code"]) == (400, "task_not_exist")
    assert http.get(path(route, "cometapi")).status_code == 404


@pytest.mark.parametrize("route", PATHS)
def test_callbacks(http, route):
    with site() as (base, posts):
        made(http, route, callback_url=f"{base}/hook")
        post = posts.get(timeout=60)
    assert (post["task_status"], bool(post["task_result"])) == ("succeed", True)


def test_slots_are_results_or_one():
    config = EmulatorConfig(duration=Duration(30.0), concurrency=4, fetch_references=False)
    with serve(config) as emulator, client(emulator) as http:
        for route, changes in (
            ("text-to-video", {"duration": "10"}),
            ("omni-image", {"result_type": "series", "series_amount": 2}),
            ("virtual-try-on", {}),
        ):
            assert http.post(path(route, "official"), json=body(route, **changes)).status_code == 200
        answer = http.post(path("image-to-video", "official"), json=body("image-to-video"))
        assert (answer.status_code, answer.json()["code"]) == (429, 1303)


def test_a_video_may_take_longer_than_an_image():
    config = EmulatorConfig(duration=Duration(10.0), video_duration=Duration(40.0), fetch_references=False)
    with serve(config) as emulator, client(emulator) as http:
        ids = {
            route: http.post(path(route, "official"), json=body(route)).json()["data"]["task_id"]
            for route in ("virtual-try-on", "omni-image", "text-to-video", "omni-video")
        }
        states = []
        for seconds in (10, 30):
            emulator.advance(seconds)
            states.append(
                [
                    http.get(f"{path(route, 'official')}/{key}").json()["data"]["task_status"]
                    for route, key in ids.items()
                ]
            )
    assert states == [["succeed", "succeed", "processing", "processing"], ["succeed"] * 4]


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
