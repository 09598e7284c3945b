"""The operator against a Kling API over HTTP: two Airflows, runs made again, ids that render anew, POSTs sent twice."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingBadRequestError, KlingError, KlingServerError, KlingSubmissionError
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.submission.record import KEY

LAYERS = ("task state", "file", "s3", "none")


class Store(dict[str, Any]):
    """As Airflow 3.3's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))


class TaskRun:
    """A task instance of one Airflow, try after try."""

    def __init__(
        self,
        conn_id: str,
        subjects: list[str],
        *,
        state: Store | None,
        operator: type = KlingMultiImageToImageOperator,
        **fields: Any,
    ) -> None:
        self.conn_id, self.state, self.operator = conn_id, state, operator
        own = {"subject_images": subjects} if operator is KlingMultiImageToImageOperator else {}
        self.fields = {**own, **fields}
        self.started, self.try_number, self.max_tries, self.clears = datetime.now(UTC), 0, 3, 0
        self.retries = 3

    def clear(self) -> None:
        self.max_tries, self.clears = self.try_number + self.retries, self.clears + 1
        self.started = datetime.now(UTC)

    def make_again(self) -> None:
        self.started, self.try_number, self.max_tries, self.clears = datetime.now(UTC), 0, self.retries, 0
        if self.state is not None:
            self.state.clear()

    def run(self, **changes: Any) -> str:
        self.try_number += 1
        ti = SimpleNamespace(
            dag_id="catalogue", run_id="scheduled__2027-01-15", task_id="generate", map_index=-1,
            try_number=self.try_number, max_tries=self.max_tries, xcom_push=lambda key, value: None,
        )  # fmt: skip
        due = datetime(2027, 1, 15, tzinfo=UTC)
        dag_run = SimpleNamespace(start_date=self.started, clear_number=self.clears, run_after=due)
        context: Any = {"ti": ti, "dag_run": dag_run}
        if self.state is not None:
            context["task_state_store"] = self.state
        fields = {"retries": self.retries, **self.fields, **changes}
        task = self.operator(task_id="generate", kling_conn_id=self.conn_id, **fields)
        made: str = task.execute(context)
        return made


@pytest.fixture
def airflow_of(
    emulator: Emulator,
    connect: Callable[..., str],
    subjects: list[str],
    tmp_path: Path,
    quick: None,
    request: pytest.FixtureRequest,
) -> Callable[..., TaskRun]:
    """``airflow_of("staging", layer="file", gateway="official")``: a task instance of an Airflow of that namespace."""

    def make(name: str, *, layer: str, gateway: str = "official", host: str = "", **fields: Any) -> TaskRun:
        extra: dict[str, Any] = {"namespace": name}
        if layer == "file":
            extra["record_store"] = (tmp_path / "records").as_uri()
        elif layer == "s3":
            request.getfixturevalue("s3")
            extra["record_store"] = "s3://my_s3@images/kling records"
        more = {"host": host} if host else {}
        conn_id = connect(emulator, conn_id=f"kling_{name}", gateway=gateway, extra=extra, **more)
        return TaskRun(conn_id, subjects, state=Store() if layer == "task state" else None, **fields)

    return make


def ledger(emulator: Emulator) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = emulator.ledger()["accounts"]["default"]["tasks"]
    return tasks


def paid(emulator: Emulator) -> int:
    return len(ledger(emulator))


def recorded(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((tmp_path / "records").rglob("*.json"))]


# --- 1 and 2: whose generation it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gateway", ["official", "cometapi"])
def test_two_airflows_run_the_same_scheduled_run(gateway: str, layer: str, airflow_of: Any, emulator: Emulator) -> None:
    made = [airflow_of(name, layer=layer, gateway=gateway).run() for name in ("staging", "production")]
    assert len(set(made)) == 2
    assert paid(emulator) == 2


@pytest.mark.parametrize("layer", LAYERS)
def test_production_does_not_take_over_what_staging_made(layer: str, airflow_of: Any, emulator: Emulator) -> None:
    airflow_of("staging", layer=layer, prompt="a TEST background").run()
    production = airflow_of("production", layer=layer, prompt="a studio")
    emulator.faults.add(on="create", action="error", code=5000, times=1)
    with pytest.raises(KlingSubmissionError) as caught:
        production.run()
    assert caught.value.retryable
    made = production.run()
    [mine] = [task for task in ledger(emulator) if task["task_id"] == made]
    assert mine["request"]["prompt"] == "a studio"
    assert paid(emulator) == 2


@pytest.mark.parametrize("layer", LAYERS)
def test_a_deleted_run_that_is_made_again_makes_its_own(layer: str, airflow_of: Any, emulator: Emulator) -> None:
    airflow = airflow_of("production", layer=layer)
    first = airflow.run()
    airflow.make_again()
    emulator.faults.add(on="create", action="error", code=5000, times=1)
    with pytest.raises(KlingSubmissionError):
        airflow.run()
    assert airflow.run() != first
    assert paid(emulator) == 2


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gateway", ["official", "cometapi"])
def test_a_constant_id_that_is_used_every_day(gateway: str, layer: str, airflow_of: Any, emulator: Emulator) -> None:
    monday = airflow_of("production", layer=layer, gateway=gateway, external_task_id="daily-hero")
    first = monday.run()
    tuesday = airflow_of("staging", layer=layer, gateway=gateway, external_task_id="daily-hero")
    with pytest.raises(KlingSubmissionError) as caught:
        tuesday.run()
    assert not caught.value.retryable
    assert "daily-hero" in str(caught.value)
    if gateway == "official":
        assert f"Kling task {first}, created 20" in str(caught.value)
        assert "Nothing was submitted now" in str(caught.value)
    else:
        assert "another task's, another run's or another Airflow's" in str(caught.value)
    assert paid(emulator) == 1


# --- 3: what renders anew ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["task state", "file", "s3"])
@pytest.mark.parametrize("action", ["drop_after", "error_after"])
def test_an_id_that_renders_differently_at_each_try(
    action: str, layer: str, airflow_of: Any, emulator: Emulator
) -> None:
    airflow = airflow_of("production", layer=layer)
    emulator.faults.add(on="create", action=action, times=1, **({"code": 5000} if action == "error_after" else {}))
    emulator.faults.add(on="query", action="error", code=5000, times=5, after=1)  # the first asks whether it is taken
    with pytest.raises(KlingSubmissionError, match="could not be asked"):
        airflow.run(external_task_id=f"hero-{uuid.uuid4()}")
    made = airflow.run(external_task_id=f"hero-{uuid.uuid4()}")
    [only] = ledger(emulator)
    assert only["task_id"] == made


@pytest.mark.parametrize(("own_id", "adopted"), [(None, True), ("mine", False)])
def test_lowered_retries_without_a_record(
    own_id: str | None, adopted: bool, airflow_of: Any, emulator: Emulator
) -> None:
    airflow = airflow_of("production", layer="none", external_task_id=own_id)
    emulator.faults.add(on="create", action="drop_after", times=1)
    emulator.faults.add(on="query", action="error", code=5000, times=5, after=1 if own_id else 0)
    with pytest.raises(KlingSubmissionError):
        airflow.run()
    airflow.retries = 1
    if adopted:
        assert airflow.run() == ledger(emulator)[0]["task_id"]
    else:
        with pytest.raises(KlingSubmissionError, match="'mine' is that of Kling task"):
            airflow.run()
    assert paid(emulator) == 1


# --- 4: POSTs sent twice ----------------------------------------------------------------------------------------------


@pytest.fixture
def mesh(emulator: Emulator) -> Iterator[str]:
    """A proxy that sends each POST twice, and gives back the second answer."""

    class Twice(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def _pass_on(self, times: int) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            for _ in range(times):
                url = emulator.url + self.path
                answer = httpx.request(self.command, url, content=body, headers=headers, trust_env=False)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_GET(self) -> None:
            self._pass_on(1)

        def do_POST(self) -> None:
            self._pass_on(2)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Twice) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_mesh_sends_the_post_twice(layer: str, airflow_of: Any, emulator: Emulator, mesh: str) -> None:
    airflow = airflow_of("production", layer=layer, host=mesh)
    made = airflow.run()
    assert [task["task_id"] for task in ledger(emulator)] == [made]


@pytest.mark.parametrize("layer", ["task state", "file"])
def test_a_mesh_before_a_gateway_that_cannot_be_asked(
    layer: str, airflow_of: Any, emulator: Emulator, mesh: str, tmp_path: Path
) -> None:
    airflow = airflow_of("production", layer=layer, gateway="cometapi", host=mesh)
    with pytest.raises(KlingSubmissionError, match="already exists") as caught:
        airflow.run()
    [only] = ledger(emulator)
    assert f"A paid generation may exist under external_task_id {only['external_task_id']!r}" in str(caught.value)
    [record] = recorded(tmp_path) if layer == "file" else [airflow.state[KEY]]
    assert record["state"] == "intended"


def test_a_refusal_without_words_does_not_say_that_nothing_was_created_twice(
    airflow_of: Any, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.add(on="create", action="error_after", code=1201, message="invalid", times=1)
    with pytest.raises(KlingBadRequestError, match="a paid generation may exist under external_task_id 'airflow-"):
        airflow_of("production", layer="file", gateway="cometapi").run()
    assert [record["state"] for record in recorded(tmp_path)] == ["intended"]
    assert paid(emulator) == 1


# --- 5: clears --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["task state", "file", "s3"])
def test_a_clear_reuses_what_the_record_names(layer: str, airflow_of: Any, emulator: Emulator) -> None:
    airflow = airflow_of("production", layer=layer, gateway="cometapi", on_clear="reuse")
    first = airflow.run()
    airflow.clear()
    assert airflow.run() == first
    airflow.clear()
    assert airflow.run(on_clear="new") != first


@pytest.mark.parametrize("layer", ["task state", "file", "s3"])
def test_a_clear_with_the_record_gone_stops(
    layer: str, airflow_of: Any, emulator: Emulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    airflow = airflow_of("production", layer=layer, on_clear="reuse")
    airflow.run()
    if layer == "task state":
        airflow.state.clear()
    elif layer == "file":
        [file] = (tmp_path / "records").rglob("*.json")
        file.unlink()
    else:
        client = request.getfixturevalue("s3")
        for item in client.list_objects_v2(Bucket="images")["Contents"]:
            client.delete_object(Bucket="images", Key=item["Key"])
    airflow.clear()
    with pytest.raises(KlingSubmissionError, match="Nothing was submitted now") as caught:
        airflow.run()
    assert not caught.value.retryable
    assert paid(emulator) == 1


# --- 6: the input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("?product=1", "?product=2", False),
        ("?X-Amz-Signature=1&X-Amz-Date=1", "?X-Amz-Signature=2&X-Amz-Date=2", True),
        ("?id=7&sig=1&se=2", "?id=7&sig=3&se=4", True),
    ],
)
def test_a_reference_by_url(first: str, second: str, same: bool, airflow_of: Any, tmp_path: Path) -> None:
    airflow = airflow_of("production", layer="file")
    url = "https://example.com/a.png"
    made = airflow.run(subject_images=[url + first, url])
    if same:
        assert airflow.run(subject_images=[url + second, url]) == made
    else:
        with pytest.raises(KlingSubmissionError, match="The input has changed"):
            airflow.run(subject_images=[url + second, url])
    assert first.partition("=")[2] not in [record["fingerprint"] for record in recorded(tmp_path)]


# --- the object -------------------------------------------------------------------------------------------------------


def test_the_record_lies_whole_where_the_documentation_says(airflow_of: Any, tmp_path: Path) -> None:
    airflow = airflow_of("production", layer="file")
    made = airflow.run()
    [file] = [path for path in (tmp_path / "records").rglob("*") if path.is_file()]
    folder = file.parent
    assert [part.name for part in (folder.parent, folder.parent.parent)] == ["production", "submissions"]
    assert len(folder.name) == 40
    record = json.loads(file.read_text())
    assert (record["dag_id"], record["run_id"], record["task_id"]) == ("catalogue", "scheduled__2027-01-15", "generate")
    assert (record["state"], record["kling_task_id"], record["kind"]) == ("submitted", made, "nonce")
    assert len(file.read_bytes()) < 2000


def test_a_record_store_comes_before_the_task_state(airflow_of: Any, tmp_path: Path) -> None:
    airflow = airflow_of("production", layer="file")
    airflow.state = Store()
    airflow.run()
    assert not airflow.state
    assert len(recorded(tmp_path)) == 1


def test_a_store_that_cannot_be_written_submits_nothing(airflow_of: Any, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where a folder should be")
    with pytest.raises(KlingSubmissionError, match="Nothing is submitted without it") as caught:
        airflow_of("production", layer="file").run()
    assert caught.value.retryable
    assert paid(emulator) == 0


def test_a_damaged_record_submits_nothing(airflow_of: Any, emulator: Emulator, tmp_path: Path) -> None:
    airflow = airflow_of("production", layer="file")
    airflow.run()
    [file] = (tmp_path / "records").rglob("*.json")
    file.write_text('{"external_task_id": "airf')
    with pytest.raises(KlingSubmissionError, match=r"object file://.* cannot be read: record: ") as caught:
        airflow.run()
    assert not caught.value.retryable
    assert paid(emulator) == 1


def test_an_address_that_cannot_be_a_store(emulator: Emulator, connect: Any, subjects: list[str]) -> None:
    conn_id = connect(emulator, extra={"record_store": "records"})
    with pytest.raises(KlingError, match="record_store in the connection's extra cannot be one"):
        TaskRun(conn_id, subjects, state=None).run()
    assert paid(emulator) == 0


def test_on_a_storage_that_replaces_in_two_steps_there_is_always_a_record(
    airflow_of: Any, emulator: Emulator, connect: Any, subjects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_kling.storage.fsspec import FsspecStore
    from tests.integration.stores import MemoryRoot

    monkeypatch.setattr(FsspecStore, "_root", MemoryRoot(f"/records-{uuid.uuid4().hex}"))
    conn_id = connect(emulator, gateway="cometapi", extra={"record_store": "memory://bucket/records"})
    airflow = TaskRun(conn_id, subjects, state=None)
    put, puts = FsspecStore.put, []

    class Killed(BaseException):
        pass

    def dying(self: Any, key: str, file: Any, **options: Any) -> str:
        puts.append(key)
        if len(puts) == 4:  # intent and its spare, then the spare with the id, and now the second object
            self.remove(key)  # the first of the two steps
            raise Killed
        return put(self, key, file, **options)

    monkeypatch.setattr(FsspecStore, "put", dying)
    with pytest.raises(Killed):
        airflow.run()
    [only] = ledger(emulator)
    assert airflow.run() == only["task_id"]
    assert paid(emulator) == 1


def test_a_lost_answer_on_a_gateway_that_cannot_be_asked_is_named(airflow_of: Any, emulator: Emulator) -> None:
    airflow = airflow_of("production", layer="file", gateway="cometapi")
    emulator.faults.add(on="create", action="error_after", code=5000, times=1)
    with pytest.raises((KlingSubmissionError, KlingServerError)):
        airflow.run()
    with pytest.raises(KlingSubmissionError, match="A paid generation may exist under external_task_id") as caught:
        airflow.run()
    assert not caught.value.retryable
    assert paid(emulator) == 1
