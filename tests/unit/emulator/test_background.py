"""References that are fetched, and callbacks."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from airflow_kling.emulator.mp4 import encode
from tests.unit.emulator import bodies
from tests.unit.emulator.bodies import path
from tests.unit.emulator.calls import create, download, picture, query


@contextlib.contextmanager
def site(answers=None):
    """A small web server: it keeps what is posted to it and answers GET from a dict of paths."""
    posts = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posts.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
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


def test_references_are_fetched(emulator, http, monkeypatch):
    fetched = queue.Queue()
    finish = emulator.state.references_fetched

    def finish_and_report(task, failure):
        finish(task, failure)
        fetched.put(task)

    monkeypatch.setattr(emulator.state, "references_fetched", finish_and_report)
    with site({"/a.png": picture(colour="blue"), "/small.png": picture(20, 20), "/text": b"hello"}) as (base, _):
        names = ("a.png", "small.png", "text", "missing.png")
        good, small, text, missing = (create(http, style_image=f"{base}/{name}") for name in names)
        for _ in names:
            fetched.get(timeout=60)
    emulator.advance(30)
    assert query(http, good)["task_status"] == "succeed"
    assert query(http, small)["task_status_msg"] == "Image pixel is invalid"
    assert "not a valid image" in query(http, text)["task_status_msg"]
    assert "404" in query(http, missing)["task_status_msg"]


def reference_video(seconds=4, size=(720, 720)):
    return encode(lambda moment: Image.new("RGB", size, (int(255 * moment), 0, 0)), seconds, sound=False)


def test_a_reference_video_is_fetched(emulator, http, monkeypatch):
    fetched = queue.Queue()
    finish = emulator.state.references_fetched

    def finish_and_report(task, failure):
        finish(task, failure)
        fetched.put(task)

    monkeypatch.setattr(emulator.state, "references_fetched", finish_and_report)
    files = {
        "good": reference_video(),
        "short": reference_video(2),
        "small": reference_video(size=(640, 720)),
        "text": b"hello",
    }
    with site({f"/{name}.mp4": data for name, data in files.items()}) as (base, _):
        tasks = {}
        for name in (*files, "missing"):
            changes = {"video_list": [{"video_url": f"{base}/{name}.mp4"}], "aspect_ratio": None}
            answer = http.post(path("omni-video", "official"), json=bodies.body("omni-video", **changes))
            tasks[name] = answer.json()["data"]["task_id"]
        changes = {"video_list": [{"video_url": f"{base}/good.mp4"}], "model_name": "kling-video-o1"}
        answer = http.post(path("omni-video", "official"), json=bodies.body("omni-video", **changes))
        tasks["o1"] = answer.json()["data"]["task_id"]
        for _ in tasks:
            fetched.get(timeout=60)
    emulator.advance(30)
    told = {name: http.get(f"{path('omni-video', 'official')}/{key}").json()["data"] for name, key in tasks.items()}
    # It is edited, so the result is as long as the source: 4 s of 1.2 units.
    assert told["good"]["task_status_msg"] == ""
    assert told["good"]["task_result"]["videos"][0]["duration"] == "4"
    assert told["good"]["final_unit_deduction"] == "4.8"
    assert told["short"]["task_status_msg"] == "Video duration is invalid: 2 s"
    assert told["small"]["task_status_msg"] == "Video resolution is invalid: 640 x 720"
    assert "only MP4 and MOV" in told["text"]["task_status_msg"]
    assert "Failed to download the reference video" in told["missing"]["task_status_msg"]
    assert told["o1"]["task_status_msg"] == "Video frame rate is invalid: 12"


def test_callbacks_at_every_change(emulator, http):
    with site() as (base, queued):
        task_id = create(http, callback_url=f"{base}/hook", external_task_id="mine")
        posts = []
        for seconds in (0, 10, 20):
            emulator.advance(seconds)
            posts.append(queued.get(timeout=60))
    assert [post["task_status"] for post in posts] == ["submitted", "processing", "succeed"]
    assert {post["task_id"] for post in posts} == {task_id}
    assert posts[2]["task_info"] == {"external_task_id": "mine"}
    assert posts[2]["final_unit_deduction"] == "16"
    assert download(posts[2]["task_result"]["images"][0]["url"]).status_code == 200
