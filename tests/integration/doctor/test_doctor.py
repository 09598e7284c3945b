"""The doctor against the emulator in its moods: what would fail is told before a DAG does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_kling.doctor.__main__ import main
from airflow_kling.doctor.network import check_clock
from airflow_kling.doctor.spend import Spending
from airflow_kling.doctor.transcript import Transcript, shown_body
from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.hooks.kling import KlingHook

# Without a database in the tests, so the doctor cannot tell of a triggerer.
FREE = {"connection", "DNS", "key", "clock", "record store", "destination", "triggerer", "plugin", "versions"}


class Run:
    """One run of the doctor: its exit status and its lines."""

    def __init__(self, *arguments: str, answer: str = "no") -> None:
        self.lines: list[str] = []
        self.status = main(arguments, ask=lambda question: answer, write=self.lines.append)

    def of(self, subject: str) -> str:
        [line] = [line for line in self.lines if line[5:25].strip() == subject]
        return line


@pytest.fixture
def moody(connect: Callable[..., str]) -> Iterator[Callable[..., Emulator]]:
    """``moody(gateway="official", wrapped=True)``: an emulator of this mood, and the connection to it."""
    with_servers: list[Any] = []

    def make(gateway: str = "cometapi", **mood: Any) -> Emulator:
        context = serve(EmulatorConfig(duration=Duration(0.0), image_size=64, **mood))
        emulator = context.__enter__()
        with_servers.append(context)
        connect(emulator, gateway=gateway)
        return emulator

    yield make
    for context in with_servers:
        context.__exit__(None, None, None)


def test_a_healthy_set_up(kling: Emulator, tmp_path: Path) -> None:
    run = Run("--destination", tmp_path.as_uri())
    assert run.status == 0 or "triggerer" in "".join(line for line in run.lines if line.startswith("FAIL"))
    assert {line[5:25].strip() for line in run.lines if line[5:25].strip() in FREE} == FREE
    assert run.of("key") == "ok   key                 Gateway cometapi answers and accepts the key."
    assert run.of("gateway official").startswith("ok")
    assert "can be written, read and cleared" in run.of("destination")
    assert list(tmp_path.iterdir()) == [] or not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kling.ledger()["requests"]["create"] == 0


def test_a_refused_key(kling: Emulator, connect: Callable[..., str]) -> None:
    connect(kling, password="not-the-key")
    run = Run()
    assert run.status == 1
    assert run.of("key").startswith("FAIL")
    assert "401" in run.of("key")
    assert "not-the-key" not in "".join(run.lines)


def test_nobody_there(connect: Callable[..., str], kling: Emulator, closed_port: int) -> None:
    connect(kling, host=f"http://127.0.0.1:{closed_port}")
    run = Run()
    assert run.status == 1
    assert "Check host, proxy and firewall" in run.of("key")


def test_no_connection() -> None:
    run = Run("--conn", "not_there")
    assert run.status == 1
    assert run.of("connection").startswith("FAIL")
    assert "not_there" in run.of("connection")


def test_a_page_in_place_of_the_api(kling: Emulator) -> None:
    kling.faults.add(on="query", action="html")
    assert Run().of("key").startswith("FAIL")


def test_a_storage_that_cannot_be_written(kling: Emulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    run = Run("--destination", (tmp_path / "file").as_uri())
    assert run.status == 1
    assert "cannot be written to (NotADirectoryError)" in run.of("destination")


def test_a_clock_that_is_off() -> None:
    transcript = Transcript()
    transcript.dates = ["Thu, 26 Nov 2026 05:00:00 GMT"]
    at = 1795669200.0
    [right], [late], [ahead] = (list(check_clock(transcript, now=at + off)) for off in (5.0, -600.0, 600.0))
    assert str(right).startswith("ok")
    assert "600 s behind" in str(late)
    assert "600 s ahead" in str(ahead)


def test_spending_asks_first(kling: Emulator) -> None:
    run = Run("--spend", answer="no")
    if run.lines[-1] != "Nothing was submitted.":  # a failed check comes before money
        assert run.status == 1
    assert kling.ledger()["totals"]["created"] == 0


MOODS: list[tuple[str, dict[str, Any], bool, int]] = [
    ("cometapi", {}, True, 1),
    ("cometapi-v2", {"wrapped": True}, True, 1),
    ("cometapi", {"sparse": True}, True, 1),
    ("official", {}, True, 1),
    ("cometapi", {"allow_duplicate_external_ids": True}, False, 2),
]


@pytest.mark.parametrize(("gateway", "mood", "refuses", "paid"), MOODS, ids=str)
def test_what_an_account_does(
    moody: Callable[..., Emulator], gateway: str, mood: dict[str, Any], refuses: bool, paid: int
) -> None:
    emulator = moody(gateway, **mood)
    spending = Spending(KlingHook().settings, Transcript(), sleep=lambda seconds: None)
    findings = list(spending.run())
    assert [str(finding) for finding in findings if str(finding).startswith("FAIL")] == []
    assert spending.extra == {"refuses_duplicates": refuses}
    assert len(spending.created) == emulator.ledger()["totals"]["created"] == paid
    told = {finding.subject: finding for finding in findings}
    assert ("can be listed: one request" in told["list"].text) is (gateway == "official")
    assert ("so a lost answer is found again" in told["recovery"].text) is (gateway == "official")
    assert "a whole image/png of" in told["download"].text


def test_a_failed_generation_is_told(kling: Emulator) -> None:
    kling.faults.add(on="create", action="fail_task", message="Image pixel is invalid")
    spending = Spending(KlingHook().settings, Transcript(), sleep=lambda seconds: kling.advance(120))
    [failed] = [str(finding) for finding in spending.run() if str(finding).startswith("FAIL")]
    assert "Image pixel is invalid" in failed


def test_the_transcript_has_no_secret_and_no_payload(kling: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "transcript.txt"
    transcript = Transcript()
    spending = Spending(KlingHook().settings, transcript, sleep=lambda seconds: kling.advance(120))
    list(spending.run())
    Run("--transcript", str(file))
    written = "\n".join(transcript.lines) + file.read_text()
    assert "> POST http://127.0.0.1" in written
    assert kling.api_key not in written
    assert "token=" not in written
    assert "iVBOR" not in written
    assert "characters>" in written


def test_a_body_that_is_no_json_is_shown_cut() -> None:
    assert len(shown_body(b"<html>" + b"x" * 10_000)) == 2000
    assert shown_body(b'{"url": "https://h.example/a.png?sig=secret"}') == '{"url": "https://h.example/a.png"}'


def test_the_connection_with_what_was_found(kling: Emulator) -> None:
    from airflow_kling.doctor.__main__ import found_connection

    told = json.loads(found_connection(KlingHook().settings, {"refuses_duplicates": True}))
    assert told["conn_type"] == "kling"
    assert told["host"] == kling.url
    assert told["extra"] == {"gateway": "cometapi", "allow_private_hosts": True, "refuses_duplicates": True}
    assert kling.api_key not in json.dumps(told)


def test_callbacks_that_come_and_that_do_not(
    kling: Emulator, connect: Callable[..., str], tmp_path: Path, closed_port: int
) -> None:
    from airflow_kling.storage.open import open_store
    from airflow_kling.submission.callback_notes import write_note

    records = {"record_store": tmp_path.as_uri(), "callback_base_url": f"http://127.0.0.1:{closed_port}"}
    connect(kling, extra=records)
    clock = [0.0]

    def sleep(seconds: float) -> None:
        kling.advance(120)
        clock[0] += seconds

    spending = Spending(KlingHook().settings, Transcript(), sleep=sleep, clock=lambda: clock[0])
    told = {finding.subject: str(finding) for finding in spending.run()}
    assert told["callbacks"].startswith("FAIL")
    [entry] = kling.ledger()["accounts"]["default"]["tasks"]
    external_task_id = entry["external_task_id"]
    write_note(open_store(tmp_path.as_uri()), external_task_id, spending.created[0])
    assert (
        spending._check_callback(external_task_id).text == f"The receiver has noted Kling task {spending.created[0]}."
    )


def test_the_price_of_each_route(kling: Emulator, connect: Callable[..., str]) -> None:
    connect(kling, extra={"max_units": 20, "prices": {"image-expansion": {"*": 30}}})
    lines = [line[25:] for line in Run().lines if line[5:25].strip() == "price"]
    assert "image-to-video: 3 units (about $0.42) for one of kling-v3 with the defaults." in lines
    assert any(line.startswith("image-expansion: 30 units") and "does not allow it" in line for line in lines)


def test_spending_keeps_the_connections_limit(kling: Emulator, connect: Callable[..., str]) -> None:
    connect(kling, extra={"max_units": 15})
    [refused] = Spending(KlingHook().settings, Transcript()).run()
    assert "would cost 16 units (about $0.056), and max_units of the connection allows 15" in refused.text
    assert kling.ledger()["totals"]["created"] == 0
