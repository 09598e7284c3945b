"""Tests what a real run shows outside of Airflow: links by the REST API, OpenLineage's events, packets of StatsD."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from deploy.local.airflow_api import AirflowApi, label
from deploy.local.samples import draw_samples
from deploy.local.waiting import wait_for
from tests.airflow.harness.airflows import airflow_3
from tests.airflow.harness.emulator import running_emulator
from tests.airflow.harness.runs import finish, start

DAG_ID = "observed"
ROUTE = "multi-image-to-image"
PROMPT = "A mug, as nobody else may know it"
GALLERY, CONSOLE = "Kling gallery", "S3 console"
SECONDS = 3600.0  # of a generation, until the emulator's clock is moved
#: Task instances that wait in the triggerer after they have run: their links are read meanwhile.
DEFERRED = {"wait", "generate", "wait_each[0]", "wait_each[1]"}


@dataclass
class StatsD:
    """A server that keeps the packets it is sent."""

    port: int
    packets: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[tuple[float, dict[str, str]]]:
        """Value and tags of each packet with that name."""
        found = []
        for packet in list(self.packets):
            head, _, rest = packet.partition(":")
            stat, *tags = head.split(",")
            if stat == f"airflow.{name}":
                found.append((float(rest.partition("|")[0]), dict(tag.split("=") for tag in tags)))
        return found


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsD]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        statsd = StatsD(server.getsockname()[1])

        def receive() -> None:
            while packet := server.recv(4096):
                statsd.packets += packet.decode().splitlines()

        receiver = threading.Thread(target=receive)
        receiver.start()
        yield statsd
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        receiver.join()


@dataclass
class Observed:
    """A run that has ended.

    :param links: of each task instance, by name: as it ran or was deferred, and after the end.
    :param events: of OpenLineage, by task and type.
    """

    api: AirflowApi
    run_id: str
    destination: Path
    references: dict[str, Path]
    events: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    links_on_the_way: dict[str, dict[str, str | None]] = field(default_factory=dict)
    links: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def read_links(self, instance: dict[str, Any]) -> dict[str, str | None]:
        path = f"dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{instance['task_id']}/links"
        found: dict[str, str | None] = self.api.get(path, map_index=instance["map_index"])["extra_links"]
        return found

    def states_now(self) -> dict[str, str]:
        return {label(one): one["state"] for one in self.api.task_instances(DAG_ID, self.run_id)}

    def kling_task_id(self, task_id: str, map_index: int = -1) -> str:
        return str(self.api.xcom(DAG_ID, self.run_id, task_id, map_index))

    def event(self, task_id: str, kind: str) -> dict[str, Any]:
        """The one event of that kind of an unmapped task."""
        [event] = [e for e in self.events if e["job"]["name"] == f"{DAG_ID}.{task_id}" and e["eventType"] == kind]
        return event


@pytest.fixture(scope="module")
def observed(statsd: StatsD, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    events = folder / "events.jsonl"
    options = {
        "openlineage__transport": json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
        "metrics__statsd_on": True,
        "metrics__statsd_host": "127.0.0.1",
        "metrics__statsd_port": statsd.port,
        "metrics__statsd_influxdb_enabled": True,
    }
    dags = [Path(__file__).parent / "observed_dags"]
    with (
        running_emulator(folder / "emulator.log", duration=SECONDS, image_size=480) as kling,
        airflow_3(folder / "airflow", {"kling_default": kling.connection()}, dags=dags, options=options) as running,
    ):
        references = draw_samples(folder / "samples")
        destination = folder / "archive"
        params = {
            "mug": str(references["mug"]),
            "plant": str(references["plant"]),
            "destination": destination.as_uri(),
            "prompt": PROMPT,
        }
        observed = Observed(running.api, start(running.api, DAG_ID, **params), destination, references)
        wait_for("the links of what waits", lambda: _read_links_on_the_way(observed), describe=observed.states_now)
        for one in observed.api.task_instances(DAG_ID, observed.run_id):
            if label(one) in DEFERRED:
                running.wait_until_worker_is_done(observed.run_id, one["task_id"], one["try_number"], one["map_index"])
        kling.advance(SECONDS)
        _follow(observed)
        observed.events = [json.loads(line) for line in events.read_text().splitlines()]
        yield observed


def _read_links_on_the_way(observed: Observed) -> bool:
    """Read the links of each task that is deferred; returns True once all have one."""
    for instance in observed.api.task_instances(DAG_ID, observed.run_id):
        if instance["state"] == "deferred":
            observed.links_on_the_way[label(instance)] = observed.read_links(instance)
    return all(observed.links_on_the_way.get(name, {}).get(GALLERY) for name in DEFERRED)


def _follow(observed: Observed) -> None:
    """Wait for the end of the run, and read the links of all tasks."""
    finish(observed.api, DAG_ID, observed.run_id)
    instances = observed.api.task_instances(DAG_ID, observed.run_id)
    observed.states = {label(instance): instance["state"] for instance in instances}
    observed.links = {label(instance): observed.read_links(instance) for instance in instances}


def test_the_run_has_ended_as_it_should(observed: Observed) -> None:
    assert observed.states == {
        "submit": "success",
        "wait": "success",
        "archive": "success",
        "archive_fails": "failed",
        "wait_fails": "failed",
        "wait_in_triggerer": "success",
        "generate": "success",
        "submit_each[0]": "success",
        "submit_each[1]": "success",
        "wait_each[0]": "success",
        "wait_each[1]": "success",
    }


# --- links ------------------------------------------------------------------------------------------------------------


def leads_to(links: dict[str, str | None], observed: Observed) -> str:
    """The Kling task to which the gallery link leads, in this run of this DAG."""
    url = links[GALLERY]
    assert url is not None
    query = dict(parse_qsl(urlsplit(url).query))
    assert (query.pop("dag_id"), query.pop("run_id")) == (DAG_ID, observed.run_id)
    return query["kling_task_id"]


def test_a_deferred_wait_has_its_link(observed: Observed) -> None:
    assert leads_to(observed.links_on_the_way["wait"], observed) == observed.kling_task_id("submit")
    for index in (0, 1):
        link = observed.links_on_the_way[f"wait_each[{index}]"]
        assert leads_to(link, observed) == observed.kling_task_id("submit_each", index)


def test_a_submission_that_waits_has_its_link_meanwhile(observed: Observed) -> None:
    assert leads_to(observed.links_on_the_way["generate"], observed) == leads_to(observed.links["generate"], observed)


@pytest.mark.parametrize("name", ["submit", "wait", "wait_in_triggerer", "archive", "archive_fails"])
def test_after_the_end_too_whatever_it_was(name: str, observed: Observed) -> None:
    assert leads_to(observed.links[name], observed) == observed.kling_task_id("submit")


def test_a_failed_wait_has_one(observed: Observed) -> None:
    assert leads_to(observed.links["wait_fails"], observed) == "unknown"


def test_mapped_tasks_have_their_own(observed: Observed) -> None:
    for task_id in ("submit_each", "wait_each"):
        found = [leads_to(observed.links[f"{task_id}[{index}]"], observed) for index in (0, 1)]
        assert found == [observed.kling_task_id("submit_each", index) for index in (0, 1)]


def test_a_folder_on_disk_has_no_console(observed: Observed) -> None:
    assert observed.links["archive"][CONSOLE] is None
    assert observed.links["archive_fails"][CONSOLE] is None


# --- lineage ----------------------------------------------------------------------------------------------------------


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_the_reference_with_an_address_is_an_input(observed: Observed) -> None:
    mug = [("file", str(observed.references["mug"]))]
    assert names(observed.event("submit", "START")["inputs"]) == mug
    assert names(observed.event("submit", "COMPLETE")["inputs"]) == mug
    assert names(observed.event("archive", "COMPLETE")["inputs"]) == mug
    assert names(observed.event("archive_fails", "FAIL")["inputs"]) == mug


def test_the_images_are_outputs(observed: Observed) -> None:
    folder = observed.destination / observed.kling_task_id("submit")
    expected = [("file", str(folder / name)) for name in ("0.png", "1.png", "manifest.json")]
    assert names(observed.event("archive", "COMPLETE")["outputs"]) == expected
    assert all(Path(name).is_file() for _, name in expected)
    assert observed.event("archive_fails", "FAIL")["outputs"] == []
    assert observed.event("submit", "COMPLETE")["outputs"] == []


@pytest.mark.parametrize(
    ("task_id", "kind", "has_units"),
    [("submit", "COMPLETE", False), ("archive", "COMPLETE", True), ("archive_fails", "FAIL", True)],
)
def test_the_facet(task_id: str, kind: str, has_units: bool, observed: Observed) -> None:
    facet = observed.event(task_id, kind)["run"]["facets"]["kling"]
    assert facet.pop("_producer")
    assert facet.pop("_schemaURL").endswith("KlingRunFacet")
    assert (facet.pop("units", 0) > 0) == has_units
    assert facet == {
        "klingTaskId": observed.kling_task_id("submit"),
        "route": ROUTE,
        "gateway": "cometapi",
        "model": "kling-v2",
        "resultKind": "image",
        "estimatedUnits": 32.0,
        "promptSha256": hashlib.sha256(PROMPT.encode()).hexdigest(),
        "aspectRatio": "3:2",
        "n": 2,
    }


def test_a_task_that_resumed_has_the_facet_too(observed: Observed) -> None:
    facet = observed.event("generate", "COMPLETE")["run"]["facets"]["kling"]
    assert facet["klingTaskId"] == leads_to(observed.links["generate"], observed)
    assert (facet["model"], facet["n"]) == ("kling-v2", 1)
    assert facet["units"] > 0
    assert names(observed.event("generate", "COMPLETE")["inputs"]) == [("file", str(observed.references["mug"]))]


def test_the_wait_tells_of_its_generation(observed: Observed) -> None:
    assert observed.event("wait", "COMPLETE")["run"]["facets"]["kling"]["units"] > 0
    assert observed.event("wait_fails", "FAIL")["run"]["facets"]["kling"]["klingTaskId"] == "unknown"


def test_no_event_of_a_task_has_the_prompt(observed: Observed) -> None:
    of_tasks = [event for event in observed.events if event["job"]["name"] != DAG_ID]
    ours = [{**event, "run": {**event["run"], "facets": event["run"]["facets"].get("kling")}} for event in of_tasks]
    assert len(of_tasks) >= 11
    assert PROMPT not in json.dumps(ours)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_four_generations_were_submitted(statsd: StatsD, observed: Observed) -> None:
    tags = {"dag_id": DAG_ID, "gateway": "cometapi", "route": ROUTE, "model": "kling-v2"}
    assert statsd.of("kling.submitted") == [(1.0, tags)] * 4
    assert statsd.of("kling.adopted") == []


def test_each_wait_that_succeeds_has_its_figures(statsd: StatsD, observed: Observed) -> None:
    tags = {"dag_id": DAG_ID, "gateway": "cometapi", "route": ROUTE}
    seen = 5  # wait, wait_in_triggerer, generate and two of wait_each
    assert len(statsd.of("kling.units.image")) == seen
    durations, overheads = statsd.of("kling.generation.duration"), statsd.of("kling.wait.overhead")
    assert [found for _, found in durations] == [tags] * seen
    # A generation that has ended before a slow machine begins its wait says nothing of what waiting costs.
    assert overheads
    assert [found for _, found in overheads] == [tags] * len(overheads)
    assert all(SECONDS * 1000 <= milliseconds < (SECONDS + 5) * 1000 for milliseconds, _ in durations)
    assert all(milliseconds >= 0 for milliseconds, _ in overheads)  # the emulator's clock is ahead


def test_polls_of_workers(statsd: StatsD, observed: Observed) -> None:
    # Before and after each of four deferrals, and once for a task that does not exist.
    of_workers = [value for value, tags in statsd.of("kling.polls") if "dag_id" in tags]
    assert Counter(of_workers) == {1.0: 9}


def test_polls_of_the_triggerer(statsd: StatsD, observed: Observed) -> None:
    together = [(value, tags) for value, tags in statsd.of("kling.polls") if "dag_id" not in tags]
    assert {tags["gateway"] for _, tags in together} == {"cometapi"}
    assert sum(value for value, _ in together) >= 4  # each of the four generations was looked at


def test_what_was_archived(statsd: StatsD, observed: Observed) -> None:
    summary = observed.api.xcom(DAG_ID, observed.run_id, "archive")
    tags = {"dag_id": DAG_ID, "gateway": "cometapi", "route": ROUTE, "model": "kling-v2", "kind": "image"}
    archived = [value for value, found in statsd.of("kling.archive.bytes") if found == tags]
    sizes = [image["bytes"] for image in summary["images"]]
    assert (Counter(archived) - Counter(sizes)).total() <= len(sizes)  # archive_fails may have downloaded them too
    assert Counter(sizes) <= Counter(archived)
    assert len(statsd.of("kling.archive.images")) == len(archived)
