"""The receiver over real HTTP: what the emulator delivers is noted, and what strangers send is not."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_kling.api.callbacks import make_callback_url
from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingError, KlingSubmissionError
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.plugins.callbacks.app import CallbackApp
from airflow_kling.plugins.callbacks.body import MAX_BYTES
from airflow_kling.plugins.callbacks.rate_limit import RateLimit
from airflow_kling.plugins.callbacks.receivers import ConnectionReceivers
from airflow_kling.storage.open import open_store
from airflow_kling.submission.callback_notes import read_note
from tests.integration.plugins.callbacks.serving import exchange, serve_app, status_of
from tests.integration.submission.test_submission import TaskRun

SECRET = "a-callback-secret-of-the-tests"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
BODY = b'{"task_id": "8334", "task_status": "submitted"}'


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def body_seconds() -> float:
    """How long the receiver waits for a body."""
    return 60.0


@pytest.fixture
def receiver(body_seconds: float) -> Iterator[str]:
    """A receiver for ``kling_default``; its base URL."""
    find = ConnectionReceivers(["kling_default"]).find
    app = CallbackApp(find, body_seconds=body_seconds, limit=RateLimit(each=10))
    with serve_app(app) as url:
        yield f"{url}/kling-callbacks/kling_default"


@pytest.fixture
def connected(receiver: str, records: Path, kling: Emulator, connect: Callable[..., str]) -> dict[str, Any]:
    extra = {"callback_base_url": receiver, "callback_secret": SECRET, "record_store": f"file://{records}"}
    connect(kling, extra=extra)
    return extra


def noted(records: Path, external_task_id: str) -> str | None:
    return read_note(open_store(f"file://{records}"), external_task_id)


def wait_for_note(records: Path, external_task_id: str) -> str:
    deadline = time.monotonic() + 60
    while (found := noted(records, external_task_id)) is None:
        assert time.monotonic() < deadline, "no callback was noted"
        time.sleep(0.02)
    return found


def files(records: Path) -> list[str]:
    return [file.name for file in records.rglob("*") if file.is_file()]


def submit(subjects: list[str], ti: Any = None, **fields: Any) -> str:
    operator = KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, **fields)
    return str(operator.execute({"ti": ti} if ti else {}))  # type: ignore[typeddict-item]


def callback_url_at(kling: Emulator) -> str | None:
    [entry] = kling.ledger()["accounts"]["default"]["tasks"]
    url: str | None = entry["request"].get("callback_url")
    return url


# --- delivered by the emulator ----------------------------------------------------------------------------------------


def test_a_submission_is_noted(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str], ti: Any
) -> None:
    kling_task_id = submit(subjects, ti)
    [entry] = kling.ledger()["accounts"]["default"]["tasks"]
    assert wait_for_note(records, entry["external_task_id"]) == kling_task_id
    assert callback_url_at(kling) == make_callback_url(
        connected["callback_base_url"], SECRET, entry["external_task_id"]
    )


@pytest.mark.parametrize("action", ["drop_after", "error_after"])
def test_a_submission_whose_answer_was_lost_is_noted(
    action: str, connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str]
) -> None:
    kling.faults.add(on="create", action=action)
    with pytest.raises(KlingError):
        submit(subjects, external_task_id="daily hero/é")
    [entry] = kling.ledger()["accounts"]["default"]["tasks"]
    assert wait_for_note(records, "daily hero/é") == entry["task_id"]


def test_the_token_is_in_no_xcom(
    connected: dict[str, Any], kling: Emulator, subjects: list[str], ti: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="airflow_kling")
    submit(subjects, ti)
    url = callback_url_at(kling)
    assert url is not None
    token = url.rpartition("/")[2]
    assert token not in json.dumps(ti.xcoms)
    assert token not in "".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert SECRET not in repr([vars(KlingHook().get_conn()), KlingHook().settings])


def test_an_author_s_own_url_stays(
    connected: dict[str, Any], kling: Emulator, subjects: list[str], records: Path
) -> None:
    submit(subjects, callback_url="http://127.0.0.1:9/mine", external_task_id="job-7")
    assert callback_url_at(kling) == "http://127.0.0.1:9/mine"
    assert files(records) == []


def test_without_a_receiver_no_url_is_sent(kling: Emulator, subjects: list[str]) -> None:
    submit(subjects, external_task_id="job-7")
    assert callback_url_at(kling) is None


def test_without_an_id_no_url_is_sent(connected: dict[str, Any], kling: Emulator, subjects: list[str]) -> None:
    KlingHook().submit({"subject_images": subjects})
    assert callback_url_at(kling) is None


def test_the_key_of_the_account_signs_where_there_is_no_secret(
    receiver: str, records: Path, kling: Emulator, connect: Callable[..., str], subjects: list[str]
) -> None:
    connect(kling, extra={"callback_base_url": receiver, "record_store": f"file://{records}"})
    made = submit(subjects, external_task_id="job-7")
    assert wait_for_note(records, "job-7") == made
    assert callback_url_at(kling) == make_callback_url(receiver, kling.api_key, "job-7")


def test_twice_late_and_out_of_order(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str]
) -> None:
    kling.faults.add(on="callback", action="delay", seconds=200, match={"task_status": "submitted"})
    kling.faults.add(on="callback", action="twice")
    kling_task_id = submit(subjects, external_task_id="job-7")
    assert noted(records, "job-7") is None
    kling.advance(120)
    assert wait_for_note(records, "job-7") == kling_task_id
    kling.advance(120)
    assert noted(records, "job-7") == kling_task_id
    assert files(records) == ["job-7.json"]


def test_forged_ones_are_not_noted(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str]
) -> None:
    kling.faults.add(on="callback", action="wrong_token", match={"external_task_id": "job-7"})
    submit(subjects, external_task_id="job-7")
    later = submit(subjects, external_task_id="job-8")
    assert wait_for_note(records, "job-8") == later
    assert noted(records, "job-7") is None


def test_signed_ones(receiver: str, records: Path, connect: Callable[..., str], subjects: list[str]) -> None:
    config = EmulatorConfig(duration=Duration(120), webhook_secret=WEBHOOK_SECRET, image_size=64)
    extra = {"callback_base_url": receiver, "record_store": f"file://{records}", "webhook_secret": WEBHOOK_SECRET}
    with serve(config) as kling:
        connect(kling, extra=extra)
        kling.faults.add(on="callback", action="wrong_signature", match={"external_task_id": "job-7"})
        submit(subjects, external_task_id="job-7")
        made = submit(subjects, external_task_id="job-8")
        assert wait_for_note(records, "job-8") == made
        url = make_callback_url(receiver, kling.api_key, "job-9")
        assert httpx.post(url, content=BODY, trust_env=False).status_code == 404  # a genuine token, no signature
    assert files(records) == ["job-8.json"]


# --- read by a later try ----------------------------------------------------------------------------------------------


def lost(kling: Emulator, subjects: list[str], **fields: Any) -> tuple[TaskRun, str]:
    """A task whose first try has submitted, and has had no answer; with the id under which Kling knows it."""
    kling.faults.add(on="create", action="drop_after", times=1)
    task = TaskRun("kling_default", subjects, state=None, **fields)
    with pytest.raises(KlingSubmissionError) as caught:
        task.run()
    assert caught.value.retryable
    [entry] = kling.ledger()["accounts"]["default"]["tasks"][-1:]
    return task, str(entry["external_task_id"])


@pytest.mark.parametrize("sparse", [False, True], ids=["told", "sparse"])
@pytest.mark.parametrize("lenient", [False, True], ids=["refuses duplicates", "takes duplicates"])
def test_a_lost_answer_is_adopted(
    lenient: bool, sparse: bool, receiver: str, records: Path, connect: Callable[..., str], subjects: list[str]
) -> None:
    extra = {"callback_base_url": receiver, "record_store": f"file://{records}", "refuses_duplicates": not lenient}
    config = EmulatorConfig(allow_duplicate_external_ids=lenient, sparse=sparse, image_size=64)
    with serve(config) as kling:
        connect(kling, extra=extra)
        # Else the first try might find the note already.
        kling.faults.add(on="callback", action="delay", seconds=100, times=1)
        task, external_task_id = lost(kling, subjects)
        kling.advance(100)
        made = wait_for_note(records, external_task_id)
        assert task.run() == made
        assert kling.ledger()["totals"]["created"] == 1


def test_before_its_callback_came_nothing_is_paid_again(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str], connect: Callable[..., str]
) -> None:
    connect(kling, extra={**connected, "refuses_duplicates": False})
    kling.faults.add(on="callback", action="delay", seconds=200)
    task, external_task_id = lost(kling, subjects)
    with pytest.raises(KlingSubmissionError, match="a retry finds it once its callback has come") as caught:
        task.run()
    assert caught.value.retryable
    kling.advance(200)
    assert wait_for_note(records, external_task_id) == task.run()
    assert kling.ledger()["totals"]["created"] == 1


def test_a_note_that_names_another_task_is_not_believed(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str], connect: Callable[..., str]
) -> None:
    connect(kling, extra={**connected, "refuses_duplicates": False})
    other = submit(subjects, external_task_id="another-task")
    kling.faults.add(on="callback", action="wrong_task", task_id=other)
    task, external_task_id = lost(kling, subjects)
    assert wait_for_note(records, external_task_id) == other
    with pytest.raises(KlingSubmissionError, match="A paid generation may exist"):
        task.run()
    assert kling.ledger()["totals"]["created"] == 2


def test_a_store_of_notes_that_is_away(
    connected: dict[str, Any], kling: Emulator, records: Path, subjects: list[str], connect: Callable[..., str]
) -> None:
    connect(kling, extra={**connected, "refuses_duplicates": False})
    kling.faults.add(on="callback", action="delay", seconds=100, match={"task_status": "submitted"})
    kling.faults.add(on="callback", action="drop")  # those that follow would write the note anew
    task, external_task_id = lost(kling, subjects)
    kling.advance(100)
    wait_for_note(records, external_task_id)
    shutil.rmtree(records / "callbacks")
    (records / "callbacks").mkdir()
    (records / "callbacks" / f"{external_task_id}.json").mkdir()
    with pytest.raises(KlingSubmissionError, match="The note of a callback") as caught:
        task.run()
    assert caught.value.retryable
    assert "a paid generation may exist" in str(caught.value)


# --- sent by strangers ------------------------------------------------------------------------------------------------


@pytest.fixture
def url(connected: dict[str, Any]) -> str:
    return make_callback_url(connected["callback_base_url"], SECRET, "job-7")


def head(url: str, *lines: str, method: str = "POST") -> bytes:
    fields = [f"{method} {urlsplit(url).path} HTTP/1.1", "Host: localhost", *lines]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


def test_a_good_one(url: str, records: Path) -> None:
    answer = httpx.post(url, content=BODY, trust_env=False)
    assert (answer.status_code, answer.text) == (200, "")
    assert noted(records, "job-7") == "8334"


def test_wrong_paths_and_methods_get_one_answer(url: str, records: Path) -> None:
    name, token = url.rsplit("/", 2)[1:]
    base = url.removesuffix(f"/{name}/{token}")
    other = url[:-1] + ("A" if url[-1] != "A" else "B")
    answers = [
        httpx.request(method, to, content=BODY, trust_env=False)
        for method, to in [
            *[(method, url) for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")],
            ("POST", other),
            ("POST", base),
            ("POST", f"{base}/"),
            ("POST", f"{base}/{name}/"),
            ("POST", f"{base}/{name}2/{token}"),
            ("POST", f"{url}/"),
            ("POST", f"{base}2/{name}/{token}"),
            ("POST", f"{base.rpartition('/')[0]}/{name}/{token}"),
            ("POST", f"{base}/%2e%2e/{token}"),
            ("POST", f"{base}/..%2f..%2f{name}/{token}"),
            ("POST", f"{base}/{name}%00/{token}"),
            ("POST", f"{base}/%ff%fe/{token}"),
        ]
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, "Not Found")}
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1
    assert not files(records)


def test_a_path_that_climbs(url: str, records: Path) -> None:
    token = url.rpartition("/")[2]
    for path in ("/kling-callbacks/kling_default/../../etc/passwd/" + token, "//" + token, "/" + "a/" * 2000 + token):
        answer = exchange(url, f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode())
        assert status_of(answer) == 404
    assert not files(records)


def test_a_body_that_says_it_is_too_large(url: str) -> None:
    size = MAX_BYTES + 1
    assert status_of(exchange(url, head(url, f"Content-Length: {size}"), b" " * size)) == 404


def test_a_body_without_a_length_is_cut_off(url: str, records: Path) -> None:
    piece = b"%x\r\n" % 16384 + b" " * 16384 + b"\r\n"
    assert status_of(exchange(url, head(url, "Transfer-Encoding: chunked"), *[piece] * 5)) == 404
    assert not files(records)


@pytest.mark.parametrize("body_seconds", [0.5])
def test_a_body_that_trickles_is_cut_off(body_seconds: float, url: str, records: Path) -> None:
    answer = exchange(url, head(url, "Content-Length: 1000"), b'{"task_id": ')
    assert status_of(answer) == 404
    assert b"connection: close" in answer.lower()
    assert not files(records)


def test_a_stranger_s_body_is_not_waited_for(url: str) -> None:
    wrong = url[:-1] + ("A" if url[-1] != "A" else "B")
    assert status_of(exchange(url, head(wrong, "Content-Length: 1000"))) == 404


def test_a_body_that_breaks_off(url: str, records: Path, connected: dict[str, Any]) -> None:
    parts = urlsplit(url)
    for _ in range(5):
        with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as connection:
            connection.sendall(head(url, "Content-Length: 1000") + b'{"task_id": "8334"')
    other = make_callback_url(connected["callback_base_url"], SECRET, "job-8")
    assert httpx.post(other, content=BODY, trust_env=False).status_code == 200
    assert files(records) == ["job-8.json"]


def test_huge_headers(url: str, records: Path) -> None:
    answer = exchange(url, head(url, f"X-Huge: {'a' * 200_000}", "Content-Length: 0"))
    assert not answer or status_of(answer) in (400, 404, 431)
    assert not files(records)
    assert httpx.post(url, content=BODY, trust_env=False).status_code == 200


def test_a_flood_of_one_submission(url: str, connected: dict[str, Any], records: Path) -> None:
    with httpx.Client(trust_env=False) as client:
        statuses = [client.post(url, content=BODY).status_code for _ in range(15)]
        assert statuses == [200] * 10 + [429] * 5
        other = make_callback_url(connected["callback_base_url"], SECRET, "job-8")
        assert client.post(other, content=BODY).status_code == 200


def test_a_lost_record_store_asks_for_another_delivery(url: str, records: Path) -> None:
    records.parent.mkdir(exist_ok=True)
    records.write_text("a file where the folder should be")
    assert httpx.post(url, content=BODY, trust_env=False).status_code == 503
    records.unlink()
    assert httpx.post(url, content=BODY, trust_env=False).status_code == 200
    assert noted(records, "job-7") == "8334"
