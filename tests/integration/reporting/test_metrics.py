"""What arrives at a StatsD server: each figure once, from its one place, and never at the price of a task."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_kling import exceptions
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import KlingTask
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingError, KlingTaskFailed
from airflow_kling.hooks.kling import KlingHook
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.reporting import metrics
from airflow_kling.sensors.task import KlingTaskSensor

pytestmark = pytest.mark.usefixtures("quick")

TAGS: metrics.Tags = {"dag_id": "dag", "gateway": "cometapi", "model": None}


class StatsD:
    """A server that keeps what it is sent, as ``name``, ``value``, ``kind`` and ``tags``."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._server.settimeout(60)

    def received(self) -> list[tuple[str, str, str, dict[str, str]]]:
        """Everything since the last call: packets of one sender to one socket keep their order."""
        _emit("the_end")
        packets = []
        while (packet := self._server.recv(4096).decode())[: len("airflow.the_end")] != "airflow.the_end":
            head, _, rest = packet.partition(":")
            name, *tags = head.split(",")
            value, kind = rest.split("|")
            packets.append((name.removeprefix("airflow."), value, kind, dict(tag.split("=") for tag in tags)))
        return [packet for packet in packets if packet[0].startswith("kling.")]

    def counts(self) -> dict[str, float]:
        counts: dict[str, float] = {}
        for name, value, _, _ in self.received():
            counts[name] = counts.get(name, 0) + float(value)
        return counts


def _emit(name: str) -> None:
    Stats.incr(name)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsD]:
    """Airflow's own client, as its configuration makes it, with tags on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
        _connect(monkeypatch)
        yield StatsD(server)


def _connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task's process does when it starts."""
    try:
        from airflow.sdk._shared.observability.metrics import stats
        from airflow.sdk.observability.metrics import stats_utils
    except ImportError:  # Airflow 2
        from airflow.metrics.statsd_logger import get_statsd_logger

        monkeypatch.setattr(type(Stats), "factory", get_statsd_logger)
        monkeypatch.setattr(Stats, "instance", None)
        return
    for name in ("_factory", "_backend"):
        monkeypatch.setattr(stats, name, None)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def submit(subjects: list[str], **fields: Any) -> KlingMultiImageToImageOperator:
    return KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, **fields)


# --- submitting -------------------------------------------------------------------------------------------------------


def test_a_submission_and_its_adoption(statsd: StatsD, kling: Emulator, subjects: list[str], ti: Any) -> None:
    store = Store()
    context: Any = {"ti": ti, "task_state_store": store}
    submit(subjects).execute(context)
    assert [(name, value, kind) for name, value, kind, _ in statsd.received()] == [("kling.submitted", "1", "c")]
    submit(subjects).execute(context)
    [(name, value, kind, tags)] = statsd.received()
    assert (name, value, kind) == ("kling.adopted", "1", "c")
    assert tags == {"dag_id": "dag", "gateway": "cometapi", "model": "kling-v2", "route": DEFAULT_ROUTE}


class Store(dict[str, Any]):
    """As Airflow 3.3's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"code": 1101}, "account"),
        ({"code": 1000}, "authentication"),
        ({"code": 1103}, "permission"),
        ({"code": 1201}, "bad_request"),
        ({"code": 1301}, "content"),
    ],
)
def test_a_refusal_and_why(
    fault: dict[str, Any], reason: str, statsd: StatsD, kling: Emulator, subjects: list[str], ti: Any
) -> None:
    kling.faults.add(on="create", action="error", **fault)
    with pytest.raises(KlingError):
        submit(subjects).execute({"ti": ti})
    assert statsd.counts() == {f"kling.refused.{reason}": 1}


def test_each_refusal_that_is_waited_out(statsd: StatsD, kling: Emulator, subjects: list[str], ti: Any) -> None:
    kling.faults.add(on="create", action="error", code=1302, times=1)
    kling.faults.add(on="create", action="error", code=1303, times=2)
    submit(subjects, deferrable=False).execute({"ti": ti})
    assert statsd.counts() == {
        "kling.refused.rate_limit": 1,
        "kling.refused.parallel_tasks": 2,
        "kling.submitted": 1,
    }


def test_an_api_that_is_not_reached(
    statsd: StatsD, connect: Callable[..., str], kling: Emulator, closed_port: int, subjects: list[str], ti: Any
) -> None:
    connect(kling, host=f"http://127.0.0.1:{closed_port}")
    with pytest.raises(KlingError):
        submit(subjects).execute({"ti": ti})
    assert statsd.counts() == {"kling.refused.connection": 1}


def test_wrong_input_is_no_refusal_of_kling(statsd: StatsD, kling: Emulator, subjects: list[str], ti: Any) -> None:
    with pytest.raises(KlingError):
        submit(subjects, negative_prompt="blurred").execute({"ti": ti})
    assert statsd.counts() == {}


def test_every_error_has_one_of_a_few_reasons() -> None:
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, KlingError)]
    reasons = {metrics.reason_of(kind.__new__(kind)) for kind in kinds if kind is not exceptions.KlingRateLimitError}
    assert len(reasons) == 8
    assert metrics.reason_of(exceptions.KlingRateLimitError("", code="1303")) == "parallel_tasks"
    assert metrics.reason_of(exceptions.KlingRateLimitError("", code="1302")) == "rate_limit"


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"deferrable": True}, {"deferrable": False}])
def test_a_wait_that_found_it_finished(
    how: dict[str, Any], statsd: StatsD, kling: Emulator, submitted: Callable[..., str]
) -> None:
    kling_task_id = submitted()
    kling.advance(120)
    finished = KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id, **how).execute({})
    units = getattr(finished, "xcom_value", finished)["unit_deduction"]
    received = {name: (value, kind, tags) for name, value, kind, tags in statsd.received()}
    # The emulator's clock has run ahead, so to a deferred wait the end seems to be of its own time.
    assert set(received) - {"kling.wait.overhead"} == {"kling.polls", "kling.generation.duration", "kling.units.image"}
    assert received["kling.units.image"][:2] == (units, "c")
    value, kind, tags = received["kling.generation.duration"]
    assert (float(value), kind) == (pytest.approx(120_000, abs=2000), "ms")
    assert (tags["gateway"], tags["route"]) == ("cometapi", DEFAULT_ROUTE)


def test_a_resumed_wait_knows_when_it_began(statsd: StatsD, kling: Emulator, submitted: Callable[..., str]) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submitted(), timeout=600)
    kling.advance(120)
    updated_at = KlingHook().get_task(wait.kling_task_id).updated_at
    assert updated_at is not None
    ended = updated_at.timestamp()
    for began, during in ((ended - 5, True), (ended + 5, False)):
        wait.execute_complete({}, {"status": "succeed"}, kling_task_id=wait.kling_task_id, deadline=began + 600)
        assert ("kling.wait.overhead" in statsd.counts()) == during


@pytest.mark.parametrize(
    ("ended", "overhead"),
    [(timedelta(seconds=40), 20_000.0), (timedelta(seconds=-1), None), (timedelta(seconds=61), 0.0)],
    ids=["while it was waited for", "before the wait began", "by a clock that is ahead"],
)
def test_overhead_is_what_the_wait_adds(ended: timedelta, overhead: float | None, statsd: StatsD) -> None:
    began = datetime(2027, 1, 1, tzinfo=UTC)
    task = KlingTask(kling_task_id="8334", status="succeed", updated_at=began + ended)
    metrics.finished(task, since=began.timestamp(), now=began.timestamp() + 60, tags=TAGS)
    received = statsd.received()
    assert [float(value) for _, value, _, _ in received] == ([] if overhead is None else [overhead])
    assert all(tags == {"dag_id": "dag", "gateway": "cometapi"} for _, _, _, tags in received)


def test_a_generation_that_fails_bills_nothing(statsd: StatsD, kling: Emulator, submitted: Callable[..., str]) -> None:
    kling.faults.add(on="create", action="fail_task")
    kling_task_id = submitted()
    kling.advance(120)
    with pytest.raises(KlingTaskFailed):
        KlingTaskSensor(task_id="wait", kling_task_id=kling_task_id).execute({})
    assert statsd.counts() == {"kling.polls": 1}


def test_each_poke_of_a_worker_is_a_poll(statsd: StatsD, kling: Emulator, submitted: Callable[..., str]) -> None:
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submitted(), deferrable=False, poke_interval=0)
    for _ in range(3):
        wait.poke({})
    assert statsd.counts() == {"kling.polls": 3}


# --- archiving --------------------------------------------------------------------------------------------------------


def archive(task: Any, folder: Path) -> dict[str, Any]:
    return KlingArchiveImagesOperator(task_id="archive", task=task, destination=folder.as_uri()).execute({})


def test_an_image_is_counted_when_it_is_archived(
    statsd: StatsD, kling: Emulator, submitted: Callable[..., str], tmp_path: Path
) -> None:
    kling_task_id = submitted(n=2)
    kling.advance(120)
    summary = archive(kling_task_id, tmp_path)
    size = sum(image["bytes"] for image in summary["images"])
    assert statsd.counts() == {"kling.archive.images": 2, "kling.archive.bytes": size}
    archive(kling_task_id, tmp_path)
    assert statsd.counts() == {}


def test_a_retry_counts_only_what_was_missing(
    statsd: StatsD, kling: Emulator, submitted: Callable[..., str], tmp_path: Path
) -> None:
    kling_task_id = submitted(n=3)
    kling.advance(120)
    fault = kling.faults.add(on="image", match={"index": 1}, action="error", status=403)
    with pytest.raises(KlingError):
        archive(kling_task_id, tmp_path)
    assert statsd.counts()["kling.archive.images"] == 2
    kling.faults.remove(fault)
    archive(kling_task_id, tmp_path)
    assert statsd.counts()["kling.archive.images"] == 1


# --- never at the price of a task -------------------------------------------------------------------------------------


def test_metrics_that_fail_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to the metrics host")

    monkeypatch.setattr(Stats, "incr", refuse, raising=False)
    metrics.submitted(TAGS)


def test_where_metrics_are_off_nothing_is_sent() -> None:
    metrics.submitted(TAGS)
