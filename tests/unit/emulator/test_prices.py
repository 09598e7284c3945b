"""What tasks cost, by Kling's price list: each line of it."""

from __future__ import annotations

import pytest

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from tests.unit.emulator.bodies import SOURCE_VIDEO, WIDE, body, path
from tests.unit.emulator.calls import client

V3, V2_6, TURBO, V3_OMNI, O1 = (
    {"model_name": name} for name in ("kling-v3", "kling-v2-6", "kling-v2-5-turbo", "kling-v3-omni", "kling-video-o1")
)
ON, STD, PRO, FULL = {"sound": "on"}, {"mode": "std"}, {"mode": "pro"}, {"mode": "4k"}
VIDEO = {"video_list": [{"video_url": SOURCE_VIDEO, "refer_type": "feature"}]}
VOICE = {"voice_list": [{"voice_id": "v"}]}
TEN = {"duration": "10"}


@pytest.fixture(scope="module")
def running():
    with serve(EmulatorConfig(duration=Duration(0.0), fetch_references=False)) as emulator:
        yield emulator


@pytest.mark.parametrize(
    ("route", "changes", "units", "pack"),
    [
        ("multi-image-to-image", {"n": 2}, 32, "image"),
        ("image-generation", {"n": 3}, 24, "image"),
        ("image-generation", {"model_name": "kling-v2-1", "n": 2}, 8, "image"),
        ("image-generation", {"model_name": "kling-v2-1", "image": WIDE}, 8, "image"),
        ("omni-image", {"n": 2, "resolution": "2k"}, 16, "image"),
        ("omni-image", {"n": 2, "resolution": "4k"}, 32, "image"),
        ("image-expansion", {"n": 2}, 16, "image"),
        ("virtual-try-on", {}, 1, "try-on"),
        ("text-to-video", {**V3, **STD}, 3, "video"),
        ("text-to-video", {**V3, **STD, **ON}, 4.5, "video"),
        ("text-to-video", {**V3, **PRO, "duration": "3"}, 2.4, "video"),
        ("text-to-video", {**V3, **PRO, **ON, "duration": "7"}, 8.4, "video"),
        ("text-to-video", {**V3, **FULL}, 15, "video"),
        ("text-to-video", {**V2_6, **STD}, 1.5, "video"),
        ("text-to-video", {**V2_6, **PRO, **TEN}, 5, "video"),
        ("text-to-video", {**V2_6, **PRO, **ON}, 5, "video"),
        ("image-to-video", {**V2_6, **PRO, **ON, **VOICE, **TEN}, 12, "video"),
        ("image-to-video", {**TURBO, **STD, **TEN}, 3, "video"),
        ("image-to-video", {**TURBO, **PRO}, 2.5, "video"),
        ("omni-video", {**V3_OMNI, **STD, **ON}, 4, "video"),
        ("omni-video", {**V3_OMNI, **PRO, **ON}, 5, "video"),
        ("omni-video", {**V3_OMNI, **PRO}, 4, "video"),
        ("omni-video", {**V3_OMNI, **FULL}, 15, "video"),
        ("omni-video", {**V3_OMNI, **STD, **VIDEO}, 4.5, "video"),
        ("omni-video", {**O1, **STD}, 3, "video"),
        ("omni-video", {**O1, **PRO}, 4, "video"),
        ("omni-video", {**O1, **PRO, **VIDEO, **TEN}, 12, "video"),
    ],
)
def test_units(emulator, http, route, changes, units, pack):
    answer = http.post(path(route, "official"), json=body(route, **changes))
    assert answer.status_code == 200, answer.text
    task = http.get(f"{path(route, 'official')}/{answer.json()['data']['task_id']}").json()["data"]
    assert task["final_unit_deduction"] == f"{units:g}"
    [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
    assert (entry["units"], entry["pack"]) == (units, pack)


def test_packs_are_kept_apart(emulator, http):
    for route in ("image-generation", "virtual-try-on", "text-to-video"):
        http.post(path(route, "official"), json=body(route))
    totals = emulator.ledger()["totals"]
    assert [totals[f"billed_{pack}_units"] for pack in ("image", "try_on", "video")] == [8, 1, 3]
    assert (totals["billed_units"], totals["billed_images"], totals["billed_videos"]) == (12, 2, 1)


def test_what_is_refused_or_fails_costs_nothing():
    with serve(EmulatorConfig(duration=Duration(0.0))) as emulator, client(emulator) as http:
        emulator.faults.add(on="create", action="fail_task", match={"route": "text-to-video"})
        http.post(path("text-to-video", "official"), json=body("text-to-video"))
        http.post(path("image-to-video", "official"), json=body("image-to-video", model_name="kling-v1-6"))
        totals = emulator.ledger()["totals"]
    assert (totals["created"], totals["failed"], totals["billed_video_units"]) == (1, 1, 0)
