"""Faults: each action once, over real HTTP, seen from the client and from the ledger."""

from __future__ import annotations

import base64
import io
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import httpx
import pytest
from PIL import Image

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from airflow_kling.emulator.__main__ import accounts, parser

PATH = "/kling/v1/images/generations"


def picture() -> str:
    out = io.BytesIO()
    Image.new("RGB", (320, 320), "green").save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


BODY = {"subject_image_list": [{"subject_image": picture()}] * 2, "prompt": "a quiet lake"}


@pytest.fixture(scope="module")
def running():
    with serve(EmulatorConfig(duration=Duration(0.0), image_size=64)) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.reset()
    return running


@pytest.fixture(scope="module")
def http(running):
    headers = {"Authorization": f"Bearer {running.api_key}"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False, timeout=5) as session:
        yield session


@pytest.fixture(scope="module")
def downloads():
    with httpx.Client(trust_env=False, timeout=5) as session:
        yield session


def create(http, **changes):
    return http.post(PATH, json={**BODY, **changes})


def made(http, **changes):
    return create(http, **changes).json()["data"]["task_id"]


def query(http, task_id):
    return http.get(f"{PATH}/{task_id}")


def image_url(http):
    return query(http, made(http)).json()["data"]["task_result"]["images"][0]["url"]


def created(emulator):
    return emulator.ledger()["totals"]["created"]


def add(http, **fault):
    """Through the control endpoint, as other processes do it."""
    answer = http.post("/_emulator/faults", json=fault)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize("code", [1302, 1303, 1101, 5000, 5001, 5002, 1301, 1103])
def test_error_creates_nothing(emulator, http, code):
    add(http, on="create", action="error", code=code, times=1)
    answer = create(http)
    expected = {1302: 429, 1303: 429, 1101: 429, 5000: 500, 5001: 503, 5002: 504, 1301: 400, 1103: 403}[code]
    assert (answer.status_code, answer.json()["code"]) == (expected, code)
    assert created(emulator) == 0
    assert create(http).status_code == 200


def test_retry_after_in_seconds_and_as_a_date(emulator, http):
    date = formatdate(2_000_000_000, usegmt=True)
    add(http, on="create", action="error", code=1302, times=1, retry_after=7)
    add(http, on="create", action="error", code=1302, times=1, retry_after=date)
    assert [create(http).headers["retry-after"] for _ in range(2)] == ["7", date]


def test_errors_of_cometapi_and_any_body(emulator, http):
    add(http, on="create", action="error", status=403, code="insufficient_user_quota", message="no money", times=1)
    answer = create(http)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "insufficient_user_quota"
    assert answer.json()["error"]["message"].startswith("no money (request id: ")
    add(http, on="create", action="error", status=524, body={"odd": True})
    answer = create(http)
    assert (answer.status_code, answer.json()) == (524, {"odd": True})


def test_error_after_creates_a_task(emulator, http):
    add(http, on="create", action="error_after", code=5002, times=1)
    assert create(http).status_code == 504
    assert created(emulator) == 1


def test_error_after_keeps_a_refusal(emulator, http):
    add(http, on="create", action="error_after", code=5002)
    assert create(http, n=99).status_code == 400


@pytest.mark.parametrize(("action", "tasks"), [("drop", 0), ("drop_after", 1)])
def test_dropped_connections(emulator, http, action, tasks):
    add(http, on="create", action=action, times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        create(http)
    assert created(emulator) == tasks
    assert create(http).status_code == 200


@pytest.mark.parametrize("action", ["delay", "delay_after"])
def test_delays(emulator, http, action):
    add(http, on="create", action=action, seconds=0.3, times=1)
    with pytest.raises(httpx.ReadTimeout):
        http.post(PATH, json=BODY, timeout=0.1)
    assert created(emulator) == (1 if action == "delay_after" else 0)
    # What was delayed is processed all the same: nobody tells a server that its client has given up.
    end = time.monotonic() + 3
    while not created(emulator):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("point", "tasks"), [("before", 0), ("after", 1)])
def test_hold_until_released(emulator, http, point, tasks):
    fault = add(http, on="create", action="hold", point=point)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(create(http)))
    thread.start()
    emulator.faults.wait_until_held(fault)
    assert created(emulator) == tasks
    assert http.get("/_emulator/faults").json()["faults"][0]["held"] == 1
    assert http.post(f"/_emulator/faults/{fault}/release").json() == {"released": 1}
    thread.join(5)
    assert answers[0].status_code == 200
    assert create(http).status_code == 200  # a released hold stops no more
    assert http.post("/_emulator/faults/none/release").status_code == 404


def test_wait_until_held_has_an_end(emulator):
    fault = emulator.faults.add(on="create", action="hold")
    with pytest.raises(TimeoutError):
        emulator.faults.wait_until_held(fault, timeout=0.01)


def test_html_and_redirects(emulator, http):
    task_id = made(http)
    add(http, on="query", action="html", times=1)
    add(http, on="query", action="html", status=200, times=1)
    add(http, on="query", action="redirect", status=301, location="https://example.org/moved", times=1)
    answers = [query(http, task_id) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 200, 301]
    assert answers[1].headers["content-type"].startswith("text/html")
    assert answers[2].headers["location"] == "https://example.org/moved"


def test_wrapped_envelopes(emulator, http):
    task_id = made(http)
    add(http, on="query", action="wrapped", times=1)
    add(http, on="query", action="wrapped", depth=3, times=1)
    two, three = (query(http, task_id).json() for _ in range(2))
    assert (two["code"], two["data"]["status"]) == ("success", "SUCCESS")
    assert two["data"]["data"]["task_status"] == "succeed"
    assert three["data"]["data"]["data"]["task_status"] == "succeed"
    add(http, on="create", action="wrapped", times=1)
    assert create(http).json()["data"]["data"]["task_id"]


def test_fail_task(emulator, http):
    add(http, on="create", action="fail_task", match={"prompt": "lake"}, times=1)
    add(http, on="create", action="fail_task", message="because", times=1)
    for reason in ("Failure to pass the risk control system", "because"):
        data = query(http, made(http)).json()["data"]
        assert (data["task_status"], data["task_status_msg"]) == ("failed", reason)
    assert emulator.ledger()["totals"]["billed_tasks"] == 0


def test_unknown_status(emulator, http):
    task_id = made(http)
    add(http, on="query", action="unknown_status", task_status="pondering", times=1)
    data = query(http, task_id).json()["data"]
    assert (data["task_status"], data["task_result"]) == ("pondering", {})
    assert query(http, task_id).json()["data"]["task_status"] == "succeed"


# Faults of downloads


def test_expired_urls_and_wrong_content(emulator, http, downloads):
    url = image_url(http)
    add(http, on="image", action="expire_urls", times=1)
    add(http, on="image", action="not_an_image", times=1)
    assert downloads.get(url).status_code == 403
    answer = downloads.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"<html>")


def test_truncated_body(emulator, http, downloads):
    url = image_url(http)
    add(http, on="image", action="truncate", times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        downloads.get(url)
    assert downloads.get(url).status_code == 200


def test_endless_body(emulator, http, downloads):
    url = image_url(http)
    add(http, on="image", action="endless")
    received = 0
    with downloads.stream("GET", url) as answer:
        assert "content-length" not in answer.headers
        for part in answer.iter_raw():
            received += len(part)
            if received > 3_000_000:
                break
    assert http.get("/_emulator/health").status_code == 200


def test_bomb(emulator, http, downloads):
    url = image_url(http)
    add(http, on="image", action="bomb")
    data = downloads.get(url).content
    assert len(data) < 1_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    emulator.faults.clear()
    add(http, on="image", action="bomb", size=100)
    with Image.open(io.BytesIO(downloads.get(url).content)) as image:
        image.load()
        assert image.size == (100, 100)


def test_slow_body(emulator, http, downloads):
    url = image_url(http)
    whole = downloads.get(url).content
    add(http, on="image", action="slow", seconds=0.2)
    start = time.monotonic()
    assert downloads.get(url).content == whole
    assert time.monotonic() - start >= 0.15


# Which requests a fault strikes


def test_after_and_times(emulator, http):
    add(http, on="create", action="error", code=1302, after=1, times=2)
    assert [create(http).status_code for _ in range(5)] == [200, 429, 429, 200, 200]


def test_match(emulator, http):
    first, second = made(http, external_task_id="one"), made(http, external_task_id="two")
    add(http, on="query", action="error", code=5000, match={"external_task_id": "two"})
    add(http, on="query", action="error", code=5001, match={"task_id": first, "gateway": "official"})
    add(http, on="create", action="error", code=1302, match={"external_task_id": "three", "account": "default"})
    assert (query(http, first).status_code, query(http, second).status_code) == (200, 500)
    assert create(http, external_task_id="three").status_code == 429
    assert create(http, external_task_id="four").status_code == 200


def test_on_any(emulator, http):
    task_id = made(http)
    add(http, action="error", code=5001, times=2)
    assert [query(http, task_id).status_code, create(http).status_code] == [503, 503]
    assert query(http, task_id).status_code == 200


def test_faults_are_listed_and_removed(emulator, http):
    fault = add(http, on="create", action="error", code=1302)
    create(http)
    described = {"id": fault, "hits": 1, "held": 0, "on": "create", "action": "error", "code": 1302}
    assert http.get("/_emulator/faults").json() == {"faults": [described]}
    assert http.delete(f"/_emulator/faults/{fault}").status_code == 204
    assert http.delete(f"/_emulator/faults/{fault}").status_code == 404
    add(http, action="drop")
    assert http.delete("/_emulator/faults").status_code == 204
    assert http.get("/_emulator/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "explode"},
        {"on": "create"},
        {"action": "error", "colour": "red"},
        {"action": "bomb", "on": "create"},
        {"action": "error", "match": {"promt": "x"}},
        [],
        "{",
    ],
)
def test_nonsense_is_refused(emulator, http, fault):
    answer = http.post("/_emulator/faults", content="{") if fault == "{" else http.post("/_emulator/faults", json=fault)
    assert answer.status_code == 422
    assert answer.json()["error"]


# The command line


def test_options():
    options = parser().parse_args(["--duration", "lognormal:20:0.4", "--api-key", "a", "--api-key", "team=b"])
    assert options.duration == Duration(20.0, 0.4)
    first, second = accounts(options.api_key, "ak", "sk")
    assert (first.name, first.api_key, first.access_key) == ("default", "a", "ak")
    assert (second.name, second.api_key, second.access_key) == ("team", "b", None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_starts_and_ends(number):
    command = [sys.executable, "-m", "airflow_kling.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Kling emulator listening on http://127.0.0.1:")
            assert httpx.get(f"{line.split()[-1]}/_emulator/health", trust_env=False).status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_importing_the_package_is_cheap():
    code = (
        "import sys, airflow_kling.emulator; print(sorted({'PIL','starlette','uvicorn','pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
