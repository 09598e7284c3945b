"""How many calls of Airflow's API server the links of a task take: Airflow's task runner runs whole tasks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

from airflow_kling.reporting.links import KlingGalleryLink, S3ConsoleLink

pytestmark = [
    pytest.mark.usefixtures("quick", "fast"),
    pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="a task of Airflow 2 asks the database"),
]
GALLERY, CONSOLE = KlingGalleryLink.xcom_key, S3ConsoleLink.xcom_key
with_gallery = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the gallery needs Airflow 3.1")

IMPORTS = """
from airflow.providers.common.compat.sdk import DAG
from airflow_kling.operators.archive import KlingArchiveImagesOperator as Archive
from airflow_kling.operators.generate import KlingMultiImageToImageOperator as Generate
from airflow_kling.sensors.task import KlingTaskSensor as Wait
with DAG("{name}", schedule=None) as dag:
"""


class Calls:
    """The calls for links that the tasks of a run made, ``("POST", task_id, key)``, and the links they left.

    :param links: by task and key, of a mapped task those of its last row.
    """

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str, str]] = Counter()
        self.links: dict[tuple[str, str], str] = {}

    def heard(self, request: httpx.Request) -> None:
        _, of_xcom, path = request.url.path.partition("/xcoms/")
        if of_xcom and path.endswith((GALLERY, CONSOLE)):
            _, _, task_id, key = path.split("/")
            self.counted[request.method, task_id, key] += 1
            if request.method == "POST":
                self.links[task_id, key] = json.loads(request.content)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls, send = Calls(), httpx.Client.send

    def counting(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        calls.heard(request)
        return send(client, request, **options)

    monkeypatch.setattr(httpx.Client, "send", counting)
    return calls


@pytest.fixture
def run_tasks(run: Callable[[str, str], Any]) -> Callable[..., dict[str, str]]:
    """``run_tasks("name", "Generate(...)", ...)``: run a DAG of them; returns the state of each task instance."""

    def run_tasks(name: str, *lines: str) -> dict[str, str]:
        source = IMPORTS.replace("{name}", name) + "".join(f"    {line}\n" for line in lines)
        instances = run(name, source).get_task_instances()
        return {ti.task_id: str(ti.state) for ti in instances}

    return run_tasks


def once(*links: tuple[str, str]) -> dict[tuple[str, str, str], int]:
    """One POST for each link that this line of Airflow has."""
    return {("POST", task_id, key): 1 for task_id, key in links if key != GALLERY or AIRFLOW_V_3_1_PLUS}


def leads_to(url: str) -> str:
    return dict(parse_qsl(urlsplit(url).query))["kling_task_id"]


SUBMIT = "submit = Generate(task_id='submit', subject_images=SUBJECTS)"


def test_a_link_costs_one_call(run_tasks: Any, calls: Calls) -> None:
    archive = "Archive(task_id='archive', task=submit.output, destination=DESTINATION, retries=0)"
    states = run_tasks("one_call", SUBMIT, archive)
    assert states == {"submit": "success", "archive": "failed"}, "it is not finished yet"
    assert calls.counted == once(("submit", GALLERY), ("archive", GALLERY), ("archive", CONSOLE))
    assert calls.links["archive", CONSOLE] == ""
    if AIRFLOW_V_3_1_PLUS:
        assert calls.links["submit", GALLERY] == calls.links["archive", GALLERY] != ""


def test_each_visit_to_a_worker_costs_one(run_tasks: Any, calls: Calls) -> None:
    generate = "Generate(task_id='generate', subject_images=SUBJECTS, destination=DESTINATION, deferrable=True)"
    assert run_tasks("two_visits", generate) == {"generate": "success"}
    visits = once(("generate", GALLERY), ("generate", CONSOLE))
    assert calls.counted == {call: 2 for call in visits}


@with_gallery
def test_what_resumes_keeps_its_link(run_tasks: Any, calls: Calls) -> None:
    wait = "Wait(task_id='wait', kling_task_id=submit.output, start_from_trigger=False)"
    assert run_tasks("resumed", SUBMIT, wait) == {"submit": "success", "wait": "success"}
    assert calls.counted == {("POST", "submit", GALLERY): 1, ("POST", "wait", GALLERY): 2}
    assert calls.links["wait", GALLERY] == calls.links["submit", GALLERY]


@with_gallery
def test_a_wait_that_holds_its_worker_has_its_link_meanwhile(run_tasks: Any, calls: Calls) -> None:
    wait = "Wait(task_id='wait', kling_task_id=submit.output, deferrable=False, poke_interval=0.01)"
    assert run_tasks("poking", SUBMIT, wait) == {"submit": "success", "wait": "success"}
    assert calls.counted["POST", "wait", GALLERY] == 2, "one at once, and Airflow's own"


@with_gallery
def test_a_mapped_task_has_its_own(run_tasks: Any, calls: Calls) -> None:
    mapped = "Generate.partial(task_id='submit').expand(subject_images=[SUBJECTS, SUBJECTS])"
    assert run_tasks("mapped", mapped) == {"submit": "success"}
    assert calls.counted == {("POST", "submit", GALLERY): 2}
    assert leads_to(calls.links["submit", GALLERY])


def test_a_try_that_fails_at_once_has_none_and_airflow_finds_no_fault(
    run_tasks: Any, calls: Calls, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = "Archive(task_id='archive', task={'no': 'id'}, destination='s3://our-bucket/kling')"
    assert run_tasks("fails_at_once", archive) == {"archive": "failed"}
    assert set(calls.links.values()) == {""}
    printed = caplog.text + "".join(capfd.readouterr())
    assert "Failed to push an xcom" not in printed
    assert "XCom not found" not in printed


def test_the_console_of_an_archive(run_tasks: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "login": "id", "password": "secret", "extra": {"region_name": "eu-west-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    archive = "Archive(task_id='archive', task='8334', destination='s3://our-bucket/kling')"
    assert run_tasks("console", archive) == {"archive": "failed"}
    assert calls.counted["POST", "archive", CONSOLE] == 1
    assert calls.links["archive", CONSOLE].endswith("prefix=kling/8334/")
