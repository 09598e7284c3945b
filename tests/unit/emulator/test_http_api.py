"""The emulator over real HTTP: routes, authentication, validation, life cycle, images, callbacks, ledger."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import pytest
from PIL import Image

from airflow_kling.emulator import Account, Duration, EmulatorConfig, serve
from airflow_kling.emulator.config import DEFAULT_ACCOUNT

PATHS = {
    "cometapi": "/kling/v1/images/generations",
    "cometapi-v2": "/kling/v1/images/multi-image2image",
    "official": "/v1/images/multi-image2image",
}
OTHER = Account("other", "another-key")


@functools.cache
def picture(width: int = 320, height: int = 320, colour: str = "red", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(**changes):
    subjects = [{"subject_image": b64(picture())}, {"subject_image": b64(picture(colour="teal", kind="JPEG"))}]
    return {"subject_image_list": subjects, "prompt": "two friends", **changes}


def client(emulator, key=None):
    return httpx.Client(
        base_url=emulator.url, headers={"Authorization": f"Bearer {key or emulator.api_key}"}, trust_env=False
    )


@pytest.fixture(scope="module")
def running():
    """One emulator for all tests that need no settings of their own."""
    config = EmulatorConfig(accounts=(DEFAULT_ACCOUNT, OTHER), duration=Duration(30.0), image_size=160, url_ttl=600)
    with serve(config) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.reset()
    return running


@pytest.fixture
def http(emulator):
    with client(emulator) as session:
        yield session


@contextlib.contextmanager
def site(answers=None):
    """A small web server; it keeps what is posted to it and answers GET from a dict of paths."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            found = (answers or {}).get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posts
    finally:
        server.shutdown()
        server.server_close()


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def create(http, gateway="cometapi", **changes):
    answer = http.post(PATHS[gateway], json=body(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["task_id"]


def look(http, task_id, gateway="cometapi"):
    answer = http.get(f"{PATHS[gateway]}/{task_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


# Routes


@pytest.mark.parametrize("gateway", PATHS)
def test_life_cycle(emulator, http, gateway):
    answer = http.post(PATHS[gateway], json=body(external_task_id="mine", n=2)).json()
    assert (answer["code"], answer["message"]) == (0, "SUCCEED")
    assert answer["request_id"]
    created = answer["data"]
    assert created["task_status"] == "submitted"
    assert abs(created["created_at"] / 1000 - emulator.state.clock()) < 5
    emulator.advance(15)
    assert look(http, created["task_id"], gateway)["task_status"] == "processing"
    emulator.advance(15)
    done = look(http, created["task_id"], gateway)
    assert done["task_status"] == "succeed"
    assert done["task_info"] == {"external_task_id": "mine"}
    assert done["final_unit_deduction"] == "16"
    assert done["updated_at"] - done["created_at"] == pytest.approx(30_000, abs=1)
    assert [image["index"] for image in done["task_result"]["images"]] == [0, 1]


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2"])
def test_cometapi_has_no_list_and_does_not_know_external_ids(http, gateway):
    create(http, gateway, external_task_id="mine")
    answer = http.get(PATHS[gateway])
    assert (answer.status_code, answer.json()) == (404, {"code": None, "message": "404"})
    answer = http.get(f"{PATHS[gateway]}/mine")
    assert answer.status_code == 400
    assert answer.json() == {"code": "task_not_exist", "message": "task_not_exist", "data": None}


def test_official_list_and_external_ids(http):
    ids = [create(http, "official", external_task_id=f"job-{number}") for number in range(3)]
    listed = http.get(PATHS["official"], params={"pageNum": 1, "pageSize": 2}).json()["data"]
    assert [task["task_id"] for task in listed] == [ids[2], ids[1]]
    assert len(http.get(PATHS["official"]).json()["data"]) == 3
    assert look(http, "job-1", "official")["task_id"] == ids[1]


@pytest.mark.parametrize("query", ["pageNum=0", "pageNum=1001", "pageSize=501", "pageSize=x", "pageSize="])
def test_pages_out_of_range(http, query):
    answer = http.get(f"{PATHS['official']}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)


def test_unrouted_paths(http):
    assert http.post("/kling/v1/images/nothing").json() == {"code": None, "message": "404"}
    answer = http.get("/v1/images/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, 1203)
    answer = http.put(PATHS["official"])
    assert (answer.status_code, answer.json()["code"]) == (404, 1202)


def test_foreign_tasks_are_not_found(emulator, http):
    task_id = create(http, "official")
    with client(emulator, OTHER.api_key) as stranger:
        answer = stranger.get(f"{PATHS['official']}/{task_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, 1203)


# Authentication


def token(issuer="kling-emulator-access", secret=None, **claims):
    now = int(time.time())
    claims = {"iss": issuer, "exp": now + 1800, "nbf": now - 5} | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret or DEFAULT_ACCOUNT.secret_key, "HS256")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, 1001),
        ("", 1001),
        ("Basic abc", 1002),
        ("Bearer", 1002),
        ("Bearer wrong", 1000),
        ("Bearer a.b.c", 1002),
        (f"Bearer {token(secret='x' * 40)}", 1000),
        (f"Bearer {token('nobody')}", 1000),
        (f"Bearer {token(exp=None)}", 1002),
        (f"Bearer {token(nbf=int(time.time()) + 600)}", 1003),
        (f"Bearer {token(exp=int(time.time()) - 1)}", 1004),
    ],
)
def test_official_authentication_codes(emulator, header, code):
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{emulator.url}{PATHS['official']}", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_signed_token_is_an_account_on_the_official_gateway_only(emulator):
    headers = {"Authorization": f"Bearer {token()}"}
    assert httpx.get(f"{emulator.url}{PATHS['official']}", headers=headers, trust_env=False).status_code == 200
    answer = httpx.get(f"{emulator.url}{PATHS['cometapi']}/1", headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "comet_api_error"
    assert "request id: " in answer.json()["error"]["message"]


# Validation


@pytest.mark.parametrize(
    ("gateway", "changes", "message"),
    [
        ("cometapi", {"subject_image_list": body()["subject_image_list"][:1]}, "2 to 4"),
        ("cometapi-v2", {"subject_image_list": []}, "1 to 4"),
        ("official", {"subject_image_list": body()["subject_image_list"] * 3}, "1 to 4"),
        ("official", {"subject_image_list": ["http://x"]}, "object"),
        ("official", {"subject_image_list": None}, "required"),
        ("cometapi", {"model_name": "kling-v2-1"}, "model_name"),
        ("cometapi", {"scene_image": "http://x/y.png"}, "scene_image"),
        ("cometapi-v2", {"scence_image": "http://x/y.png"}, "scence_image"),
        ("cometapi", {"negative_prompt": "fog"}, "negative_prompt"),
        ("official", {"negative_prompt": "x" * 2501}, "negative_prompt"),
        ("cometapi", {"prompt": "x" * 2501}, "prompt"),
        ("cometapi", {"prompt": 5}, "prompt"),
        ("cometapi", {"n": 0}, "n must"),
        ("cometapi", {"n": 10}, "n must"),
        ("cometapi", {"n": "2"}, "n must"),
        ("cometapi", {"n": True}, "n must"),
        ("cometapi", {"aspect_ratio": "5:4"}, "aspect_ratio"),
        ("cometapi", {"callback_url": "ftp://x"}, "callback_url"),
        ("official", {"watermark_info": True}, "watermark_info"),
        ("cometapi", {"style_image": "data:image/png;base64," + b64(picture())}, "not in a valid base64 format"),
        ("cometapi", {"style_image": "&&&"}, "not in a valid base64 format"),
        ("cometapi", {"style_image": b64(b"GIF89a")}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(picture(kind="GIF"))}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(picture()[:-30])}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(bytes(10 * 1024 * 1024 + 1))}, "10MB"),
    ],
)
def test_bad_parameters(emulator, http, gateway, changes, message):
    answer = http.post(PATHS[gateway], json=body(**changes))
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert message in answer.json()["message"]
    assert emulator.ledger()["totals"]["created"] == 0


def test_the_limits_themselves_are_accepted(http):
    create(http, "official", subject_image_list=body()["subject_image_list"][:1], prompt="x" * 2500, n=9)
    create(http, "cometapi", subject_image_list=body()["subject_image_list"] * 2, scence_image=b64(picture()))
    create(http, "cometapi-v2", model_name="kling-v2-1", scene_image=b64(picture()), negative_prompt="fog")


def test_bodies_that_are_not_json(http):
    answer = http.post(PATHS["official"], content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, 1200)
    answer = http.post(PATHS["cometapi"], content=b"{")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"
    answer = http.post(PATHS["cometapi"], json=[])
    assert (answer.status_code, answer.json()["code"]) == (400, 1200)


@pytest.mark.parametrize("size", [(299, 320), (320, 299), (301, 760)])
def test_bad_pixels_fail_later_and_with_http_200(emulator, http, size):
    task_id = create(http, style_image=b64(picture(*size)))
    emulator.advance(30)
    answer = http.get(f"{PATHS['cometapi']}/{task_id}")
    assert answer.status_code == 200
    assert (answer.json()["code"], answer.json()["message"]) == (0, "SUCCEED")
    data = answer.json()["data"]
    assert (data["task_status"], data["task_status_msg"]) == ("failed", "Image pixel is invalid")
    assert data["task_result"] == {}
    assert emulator.ledger()["totals"]["billed_tasks"] == 0


def test_a_duplicate_external_id_is_refused(emulator, http):
    create(http, external_task_id="mine")
    answer = http.post(PATHS["cometapi"], json=body(external_task_id="mine"))
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert emulator.ledger()["totals"]["created"] == 1


# References given as URL


def test_references_are_fetched(emulator, http):
    with site({"/a.png": picture(colour="blue"), "/small.png": picture(20, 20), "/text": b"hello"}) as (base, _):
        good = create(http, style_image=f"{base}/a.png")
        small = create(http, style_image=f"{base}/small.png")
        text = create(http, style_image=f"{base}/text")
        missing = create(http, style_image=f"{base}/missing.png")
        until(lambda: all(task.ends_at for task in emulator.state.of_account("default")))
        emulator.advance(30)
    assert look(http, good)["task_status"] == "succeed"
    assert look(http, small)["task_status_msg"] == "Image pixel is invalid"
    assert "not a valid image" in look(http, text)["task_status_msg"]
    assert "404" in look(http, missing)["task_status_msg"]


# Results


def images(emulator, http, **changes):
    task_id = create(http, **changes)
    emulator.advance(30)
    return [image["url"] for image in look(http, task_id)["task_result"]["images"]]


def download(url, **settings):
    return httpx.get(url, trust_env=False, **settings)


@pytest.mark.parametrize(
    ("aspect_ratio", "size"),
    [("16:9", (160, 90)), ("9:16", (90, 160)), ("1:1", (160, 160)), ("21:9", (160, 69)), ("2:3", (107, 160))],
)
def test_results_are_different_images_of_the_right_shape(emulator, http, aspect_ratio, size):
    urls = images(emulator, http, n=3, aspect_ratio=aspect_ratio, style_image=b64(picture(colour="gold")))
    answers = [download(url) for url in urls]
    assert {answer.headers["content-type"] for answer in answers} == {"image/png"}
    for answer in answers:
        with Image.open(io.BytesIO(answer.content)) as image:
            image.load()
            assert image.size == size
    assert len({answer.content for answer in answers}) == 3
    assert download(urls[0]).content == answers[0].content


def test_results_show_the_subjects(emulator, http):
    url = images(emulator, http)[0]
    with Image.open(io.BytesIO(download(url).content)) as image:
        colours = [pixel for _, pixel in image.convert("RGB").getcolors(160 * 90)]
    assert any(red > 200 and green < 40 and blue < 40 for red, green, blue in colours)
    assert any(red < 30 and 90 < green < 150 and 90 < blue < 150 for red, green, blue in colours)


def test_result_urls_refuse_keys_forgery_and_old_age(emulator, http):
    url = images(emulator, http)[0]
    leaked = download(url, headers={"Authorization": f"Bearer {emulator.api_key}"})
    assert (leaked.status_code, "Only one auth mechanism" in leaked.text) == (400, True)
    assert download(url.replace("token=", "token=0")).status_code == 403
    assert download(url.replace("0.png", "1.png")).status_code == 403
    assert download(url.partition("?")[0]).status_code == 403
    emulator.advance(600)
    assert download(url).status_code == 403
    task_id = url.split("/")[-2]
    assert download(look(http, task_id)["task_result"]["images"][0]["url"]).status_code == 200


def test_watermarked_copies(emulator, http):
    task_id = create(http, "official", watermark_info={"enabled": True})
    emulator.advance(30)
    image = look(http, task_id, "official")["task_result"]["images"][0]
    assert download(image["url"]).content != download(image["watermark_url"]).content


# Callbacks


def test_callbacks_at_every_change(emulator, http):
    with site() as (base, posts):
        task_id = create(http, callback_url=f"{base}/hook", external_task_id="mine")
        for count, seconds in ((1, 0), (2, 10), (3, 20)):
            emulator.advance(seconds)
            until(lambda wanted=count: len(posts) >= wanted)
    assert [post["task_status"] for post in posts] == ["submitted", "processing", "succeed"]
    assert {post["task_id"] for post in posts} == {task_id}
    assert posts[2]["task_info"] == {"external_task_id": "mine"}
    assert posts[2]["final_unit_deduction"] == "8"
    assert download(posts[2]["task_result"]["images"][0]["url"]).status_code == 200


# Settings


def test_concurrency():
    with serve(EmulatorConfig(concurrency=3)) as emulator, client(emulator) as http:
        create(http, n=2)
        answer = http.post(PATHS["cometapi"], json=body(n=2))
        assert answer.status_code == 429
        assert answer.json() == {
            "code": 1303,
            "message": "parallel task over resource pack limit",
            "request_id": answer.json()["request_id"],
        }
        emulator.advance(8)
        create(http, n=3)


def test_sparse_and_wrapped_answers():
    with serve(EmulatorConfig(sparse=True, wrapped=True)) as emulator, client(emulator) as http:
        answer = http.post(PATHS["cometapi"], json=body(external_task_id="mine")).json()
        task_id = answer["data"]["task_id"]
        assert answer == {"code": 0, "message": "SUCCEED", "data": {"task_id": task_id}}
        waiting = http.get(f"{PATHS['cometapi']}/{task_id}").json()
        assert (waiting["code"], waiting["data"]["status"]) == ("success", "SUBMITTED")
        emulator.advance(8)
        done = http.get(f"{PATHS['cometapi']}/{task_id}").json()["data"]
        assert (done["status"], done["progress"], done["fail_reason"]) == ("SUCCESS", "100%", "")
        assert done["data"]["task_status"] == "succeed"
        assert "index" not in done["data"]["task_result"]["images"][0]
        official = http.post(PATHS["official"], json=body()).json()
        assert official["data"]["task_status"] == "submitted"


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_image_formats(kind):
    config = EmulatorConfig(image_format=kind, image_size=64, duration=Duration(0))
    with serve(config) as emulator, client(emulator) as http:
        answer = download(images(emulator, http)[0])
    assert answer.headers["content-type"] == f"image/{kind}"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == kind.upper()


# The ledger


def test_the_ledger_tells_what_was_done(emulator, http):
    task_id = create(http, "official", external_task_id="mine", n=2)
    look(http, task_id, "official")
    http.get(PATHS["official"])
    http.post(PATHS["cometapi"], json={})
    told = httpx.get(f"{emulator.url}/_emulator/ledger", trust_env=False).json()
    assert told == emulator.ledger()
    assert told["requests"] == {"create": 2, "query": 1, "list": 1, "image": 0}
    assert told["totals"] == {"created": 1, "failed": 0, "billed_tasks": 1, "billed_images": 2, "billed_units": 16}
    assert told["accounts"]["other"] == {"totals": dict.fromkeys(told["totals"], 0), "slots": 0, "tasks": []}
    task = told["accounts"]["default"]["tasks"][0]
    assert (task["task_id"], task["external_task_id"], task["gateway"]) == (task_id, "mine", "official")
    subject = task["request"]["subject_image_list"][0]["subject_image"]
    assert (subject["bytes"], len(subject["sha256"])) == (len(picture()), 64)
    short = httpx.get(f"{emulator.url}/_emulator/ledger?tasks=false", trust_env=False).json()
    assert "tasks" not in short["accounts"]["default"]


def test_reset_and_clock(emulator, http):
    task_id = create(http)
    answer = http.post("/_emulator/clock", json={"advance": 30})
    assert answer.json()["now"] > time.time()
    assert look(http, task_id)["task_status"] == "succeed"
    assert http.post("/_emulator/clock", json={"forward": 1}).status_code == 422
    assert http.post("/_emulator/reset").status_code == 200
    assert emulator.ledger()["requests"]["query"] == 0
    assert http.get(f"{PATHS['cometapi']}/{task_id}").status_code == 400
    assert http.get("/_emulator/health").json() == {"status": "ok"}
