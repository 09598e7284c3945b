"""The table of routes: a row that is added to it is served over HTTP, from the request to the bill."""

from __future__ import annotations

import functools
import io

import pytest
from PIL import Image

from airflow_kling.emulator import Duration, EmulatorConfig, drawing, routes, serve
from airflow_kling.emulator.endpoints import ResultList, Route, Variant
from airflow_kling.emulator.fields import choice, image, required, text, whole
from airflow_kling.emulator.gateways import COMETAPI, OFFICIAL
from tests.unit.emulator.calls import PATHS, b64, client, create, download, picture

# As the routes to come: it shares a path with another route, makes two kinds of results and has rules across fields.
TOY = Route(
    "toy",
    fields={
        "external_task_id": text(512),
        "image": required(image),
        "n": whole(1, 9),
        "duration": choice("5", "10"),
        "mode": choice("std", "pro"),
    },
    variants=(
        Variant(COMETAPI, "images/generations", {"duration": choice("5")}, when="mode"),
        Variant(OFFICIAL, "toys/make", spelling={"image": "picture"}),
    ),
    results=(
        ResultList(
            "images", count=lambda fields: fields["n"], draw=functools.partial(drawing.collage, subjects=("image",))
        ),
        ResultList(
            "videos",
            count=lambda fields: 1,
            draw=lambda order: f"a film of {order.fields['duration']} s".encode(),
            media_type="video/mp4",
            item=lambda task_id, index, fields: {"id": f"{task_id}-{index}", "duration": fields["duration"]},
        ),
    ),
    price=lambda fields: fields["n"] + 0.5 * int(fields["duration"]),
    problem=lambda fields: (
        "10 seconds need mode pro" if (fields["duration"], fields["mode"]) == ("10", "std") else None
    ),
)
PATH = "/v1/toys/make"
BODY = {"picture": b64(picture()), "n": 2, "duration": "10", "mode": "pro", "external_task_id": "mine"}


@pytest.fixture
def emulator(monkeypatch):
    monkeypatch.setattr(routes, "ROUTES", (*routes.ROUTES, TOY))
    with serve(EmulatorConfig(duration=Duration(30.0), image_size=64)) as emulator:
        yield emulator


@pytest.fixture
def http(emulator):
    with client(emulator) as session:
        yield session


def made(http, path=PATH, body=BODY):
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["task_id"]


def test_a_row_more_is_a_route_more(emulator, http):
    task_id = made(http)
    emulator.advance(30)
    task = http.get(f"{PATH}/{task_id}").json()["data"]
    assert task["task_status"] == "succeed"
    assert task == http.get(f"{PATH}/mine").json()["data"] | {"task_result": task["task_result"]}
    first, second = task["task_result"]["images"]
    [film] = task["task_result"]["videos"]
    assert (first["index"], second["index"]) == (0, 1)
    assert (film["id"], film["duration"]) == (f"{task_id}-0", "10")
    with Image.open(io.BytesIO(download(second["url"]).content)) as drawn:
        assert drawn.size == (64, 64)
    answer = download(film["url"])
    assert (answer.headers["content-type"], answer.text) == ("video/mp4", "a film of 10 s")
    assert [task["task_id"] for task in http.get(PATH).json()["data"]] == [task_id]


def test_the_bill_of_a_row(emulator, http):
    task_id = made(http)
    create(http, "official")
    bill = emulator.ledger()
    entry = bill["accounts"]["default"]["tasks"][0]
    assert (entry["task_id"], entry["route"], entry["gateway"]) == (task_id, "toy", "official")
    assert (entry["n"], entry["units"]) == (3, 7.0)
    assert entry["request"] == {**BODY, "picture": entry["request"]["picture"]}
    assert entry["request"]["picture"].keys() == {"sha256", "bytes"}
    assert bill["totals"]["billed_images"] == 3  # a film is no image
    assert bill["totals"]["billed_units"] == 23.0
    assert bill["accounts"]["default"]["slots"] == 4


def test_a_task_is_found_and_listed_under_its_own_path_only(http):
    toy, other = made(http), create(http, "official", external_task_id="other")
    for path, key in ((PATHS["official"], toy), (PATHS["official"], "mine"), (PATH, other), (PATH, "other")):
        answer = http.get(f"{path}/{key}")
        assert (answer.status_code, answer.json()["code"]) == (404, 1203)
    for path, key in ((PATH, toy), (PATHS["official"], other)):
        assert [task["task_id"] for task in http.get(path).json()["data"]] == [key]


def test_a_shared_path_tells_routes_apart_by_the_body(emulator, http):
    path = PATHS["cometapi"]
    ids = [made(http, path, {"image": b64(picture()), "mode": "std"}), create(http)]
    assert [task["route"] for task in emulator.ledger()["accounts"]["default"]["tasks"]] == [
        "toy",
        "multi-image-to-image",
    ]
    assert all(http.get(f"{path}/{task_id}").status_code == 200 for task_id in ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picture": None}, "picture is required"),
        ({"mode": "std"}, "10 seconds need mode pro"),
        ({"duration": "7"}, "duration value '7'"),
        ({"image": "http://example.com/a.png"}, "'image' is not supported"),
    ],
)
def test_the_rules_of_a_row(http, changes, message):
    answer = http.post(PATH, json={**BODY, **changes})
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert message in answer.json()["message"]


def test_rows_have_names_and_paths_of_their_own():
    assert len({route.name for route in routes.ROUTES}) == len(routes.ROUTES)
    for route in routes.ROUTES:
        assert len({variant.gateway.name for variant in route.variants}) == len(route.variants)
