"""Operators with a ``destination``: one task submits, waits and archives; a retry archives and never submits."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS
from airflow.utils.session import create_session

from airflow_kling.emulator import Duration, Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingDownloadError, KlingInputError, KlingRateLimitError, KlingSubmissionError
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.reporting import xcom
from tests.integration.dag_runs import manifests, states
from tests.integration.stores import s3, s3_endpoint

__all__ = ["s3", "s3_endpoint"]

pytestmark = pytest.mark.usefixtures("quick")


class TaskState(dict[str, Any]):
    """As Airflow 3.3's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = json.loads(json.dumps(value))


class Instance:
    """A task instance, try after try, with its XComs and what Airflow keeps while it is deferred.

    :param kept: its task state, which Airflow has from 3.3 on.
    """

    dag_id, run_id, task_id, map_index, max_tries = "dag", "run", "generate", -1, 3

    def __init__(self, kept: TaskState | None, **fields: Any) -> None:
        self.kept, self.fields = kept, fields
        self.try_number, self.xcoms, self.deferrals = 0, {}, []  # type: ignore[var-annotated]
        run = SimpleNamespace(start_date=datetime.now(UTC), clear_number=0, run_after=datetime(2027, 1, 15, tzinfo=UTC))
        self.context: Any = {"ti": self, "dag_run": run, **({} if kept is None else {"task_state_store": kept})}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, key: str, task_ids: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def task(self, **changes: Any) -> KlingMultiImageToImageOperator:
        """Make the task anew, as each process does, with its templates rendered."""
        task = KlingMultiImageToImageOperator(task_id="generate", retries=3, **{**self.fields, **changes})
        task.render_template_fields(self.context)
        return task

    def begin(self, **changes: Any) -> Any:
        """Run a try until it ends or defers; what it returns, or None."""
        self.try_number, self.xcoms = self.try_number + 1, {}
        try:
            return self.task(**changes).execute(self.context)
        except TaskDeferred as deferred:
            self.deferrals.append(deferred)
            return None

    def resume(self) -> Any:
        """Run the trigger of the last deferral to its event, and then the task in another process."""
        deferred = self.deferrals[-1]

        async def events() -> list[Any]:
            return [event.payload async for event in deferred.trigger.run()]

        [self.event] = asyncio.run(events())
        return getattr(self.task(), deferred.method_name)(self.context, self.event, **deferred.kwargs)


@pytest.fixture
def generate(subjects: list[str], archive: Path) -> Callable[..., Instance]:
    def generate(kept: TaskState | None = None, **fields: Any) -> Instance:
        return Instance(
            kept, **{"subject_images": subjects, "deferrable": True, "destination": archive.as_uri()} | fields
        )

    return generate


def billed(emulator: Emulator) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = emulator.ledger()["accounts"]["default"]["tasks"]
    return tasks


# --- one task ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [None, TaskState()], ids=["no task state", "task state"])
def test_it_submits_defers_and_archives(kept: Any, kling: Emulator, generate: Any, archive: Path) -> None:
    one = generate(kept, n=2)
    assert one.begin() is None
    kling.advance(120)
    summary = one.resume()
    assert kling.ledger()["requests"] == {"create": 1, "query": 3, "list": 0, "image": 2}
    [manifest] = manifests(archive)
    assert manifest["run"] == {"dag_id": "dag", "run_id": "run", "task_id": "generate", "map_index": -1}
    assert (manifest["request"]["n"], len(manifest["request"]["references"])) == (2, 2)
    assert manifest["request"]["external_task_id"] == billed(kling)[0]["external_task_id"]
    again = KlingArchiveImagesOperator(task_id="a", task=summary["kling_task_id"], destination=archive.as_uri())
    assert again.execute({}) == summary


def test_without_deferral_it_waits_on_the_worker(
    kling: Emulator, generate: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = generate(deferrable=False, poke_interval=0)
    # The generation ends while the worker waits: at its second poll.
    monkeypatch.setattr("airflow_kling.lifecycle.wait.time.sleep", lambda seconds: kling.advance(120))
    assert one.begin()["images"]
    assert one.deferrals == []
    assert len(manifests(archive)) == 1
    assert kling.ledger()["requests"]["query"] == 2


def test_no_signed_url_leaves_the_workers(kling: Emulator, generate: Any) -> None:
    one = generate(None, n=2)
    one.begin()
    kling.advance(120)
    summary = one.resume()
    [deferred] = one.deferrals
    left = [one.xcoms, summary, one.event, deferred.kwargs, deferred.trigger.serialize()]
    assert "token=" not in json.dumps(left)
    assert set(one.event) == {"kling_task_id", "route", "status"}
    kling_task_id = summary["kling_task_id"]
    keys = {"kling_task_id", xcom.request_key(kling_task_id), xcom.archive_key(kling_task_id)}
    assert keys <= one.xcoms.keys() <= keys | {"kling_gallery_link", "kling_s3_console_link"}


def test_what_belongs_to_an_archive_task(subjects: list[str]) -> None:
    fields = {"task_id": "generate", "subject_images": subjects}
    with DAG("d", schedule=None):
        one = KlingMultiImageToImageOperator(destination="s3://b/k", **fields)
        plain = KlingMultiImageToImageOperator(**{**fields, "task_id": "submit"})
    archive = KlingArchiveImagesOperator(task_id="archive", task="8334", destination="s3://b/k")
    assert one.outlets == archive.outlets == [Asset("kling_images")]
    assert one.operator_extra_links == archive.operator_extra_links
    assert str(one.output["images"][1]).endswith("['images'][1] }}")
    assert plain.outlets == []
    assert plain.operator_extra_links == KlingMultiImageToImageOperator.operator_extra_links
    with DAG(
        "e", schedule=None, default_args={"outlets": [Asset("mine")], "destination": "s3://b/k", "aws_conn_id": "a"}
    ):
        given = KlingMultiImageToImageOperator(**fields)
    assert (given.outlets, given.destination, given.aws_conn_id) == ([Asset("mine")], "s3://b/k", "a")


def test_secrets_of_the_upload_are_not_shown(generate: Any) -> None:
    secret = {"SSECustomerKey": "a-distinctive-key", "SSECustomerAlgorithm": "AES256"}
    task = generate(destination="s3://b/k", s3_extra_args=secret).task()
    assert "a-distinctive-key" not in repr([getattr(task, name) for name in task.template_fields])
    assert task.rendered_value("s3_extra_args") == secret


@pytest.mark.parametrize("kind", ["publish", "review"])
def test_what_follows_an_archive_task_follows_it_too(
    kind: str, kling: Emulator, generate: Any, tmp_path: Path, archive: Path
) -> None:
    one = generate(n=2)
    one.begin()
    kling.advance(120)
    manifest = one.resume()["manifest"]
    if kind == "publish":
        review = {"manifest": manifest, "approved": [1], "by": None, "at": "2027-01-15T00:00:00+00:00"}
        published = KlingPublishImagesOperator(
            task_id="publish", review=review, destination=(tmp_path / "shop").as_uri()
        ).execute({})
        assert [image["index"] for image in published["published"]] == [1]
        return
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("Airflow asks nobody before 3.1")
    from airflow_kling.operators.review import KlingReviewImagesOperator

    with DAG("d", schedule=None):
        submitting = one.task()
        asking = KlingReviewImagesOperator(task_id="review", manifest=submitting.output["manifest"])
    assert asking.upstream_task_ids == {"generate"}
    asking.manifest = manifest
    assert len(asking._open()[0].manifest.images) == 2


# --- a retry ----------------------------------------------------------------------------------------------------------


@contextmanager
def refusing(bucket: Any) -> Iterator[None]:
    """S3 refuses every request for the bucket; what was in it is there again afterwards."""
    keys = [item["Key"] for item in bucket.list_objects_v2(Bucket="images").get("Contents", ())]
    stored = {key: bucket.get_object(Bucket="images", Key=key)["Body"].read() for key in keys}
    for key in keys:
        bucket.delete_object(Bucket="images", Key=key)
    bucket.delete_bucket(Bucket="images")
    yield
    bucket.create_bucket(Bucket="images")
    for key, content in stored.items():
        bucket.put_object(Bucket="images", Key=key, Body=content)


@pytest.mark.parametrize("gateway", ["official", "cometapi"])
@pytest.mark.parametrize("layer", ["task state", "record store", "none"])
def test_a_retry_after_s3_refused_archives(
    layer: str, gateway: str, emulator: Emulator, connect: Any, generate: Any, s3: Any, tmp_path: Path
) -> None:
    records = {"record_store": (tmp_path / "records").as_uri()} if layer == "record store" else {}
    connect(emulator, gateway=gateway, extra=records)
    kept = TaskState() if layer == "task state" else None
    one = generate(kept, n=2, destination="s3://my_s3@images/kling")
    one.begin()
    emulator.advance(120)
    with refusing(s3), pytest.raises(Exception, match="NoSuchBucket"):
        one.resume()
    summary = one.begin()
    assert len(summary["images"]) == 2
    assert len(one.deferrals) == 1, "the generation is finished, so there is nothing to wait for"
    assert summary["kling_task_id"] == billed(emulator)[0]["task_id"]
    assert emulator.ledger()["requests"]["create"] == len(billed(emulator)) == 1
    manifest = s3.get_object(Bucket="images", Key=f"kling/{summary['kling_task_id']}/manifest.json")["Body"].read()
    assert "token=" not in manifest.decode()
    assert json.loads(manifest)["request"]["n"] == 2


def test_what_is_archived_already_is_not_fetched_again(kling: Emulator, generate: Any, archive: Path) -> None:
    one = generate(n=3)
    one.begin()
    kling.advance(120)
    fault = kling.faults.add(on="image", match={"index": 1}, action="error", status=403)
    with pytest.raises(KlingDownloadError, match="is billed: a retry archives it"):
        one.resume()
    kling.faults.remove(fault)
    before = kling.ledger()["requests"]["image"]
    assert len(one.begin()["images"]) == 3
    assert kling.ledger()["requests"]["image"] == before + 1
    assert len(billed(kling)) == 1
    assert kling.ledger()["requests"]["create"] == 1


@pytest.mark.parametrize("gateway", ["official", "cometapi"])
def test_a_record_that_is_lost_with_its_destination_never_pays_twice(
    gateway: str, emulator: Emulator, connect: Any, generate: Any, tmp_path: Path
) -> None:
    connect(emulator, gateway=gateway)
    one = generate()
    one.begin()
    emulator.advance(120)
    elsewhere = (tmp_path / "elsewhere").as_uri()
    if gateway == "official":  # it can be asked
        assert one.begin(destination=elsewhere)["kling_task_id"] == billed(emulator)[0]["task_id"]
    else:
        with pytest.raises(KlingSubmissionError, match="archive the one found by its Kling task id"):
            one.begin(destination=elsewhere)
    assert len(billed(emulator)) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["task state", "beside the archive"])
def test_a_retry_that_cannot_read_its_input_names_what_was_paid_for(
    kept: bool, kling: Emulator, generate: Any, subjects: list[str], tmp_path: Path
) -> None:
    reference = tmp_path / "shoe.png"
    reference.write_bytes(base64.b64decode(subjects[0]))
    one = generate(TaskState() if kept else None, subject_images=[str(reference), subjects[1]])
    one.begin()
    reference.unlink()
    [paid] = billed(kling)
    with pytest.raises(KlingInputError, match="neither an existing file") as caught:
        one.begin()
    assert f"Kling task {paid['task_id']}, which an earlier try submitted, is billed if it succeeds" in str(
        caught.value
    )
    assert len(billed(kling)) == 1


def test_an_input_that_was_wrong_from_the_start_speaks_of_no_bill(kling: Emulator, generate: Any) -> None:
    one = generate(subject_images=["/nowhere.png", "/nowhere.png"])
    for _ in range(2):
        with pytest.raises(KlingInputError, match=r"nor base64 of an image\.$"):
            one.begin()


@pytest.fixture
def lax(connect: Any) -> Iterator[Emulator]:
    """An account that can be asked, and takes an ``external_task_id`` twice: nobody else prevents a second payment."""
    config = EmulatorConfig(duration=Duration(120.0), image_size=64, allow_duplicate_external_ids=True)
    with serve(config) as emulator:
        connect(emulator, gateway="official")
        yield emulator


@pytest.mark.parametrize("earlier", ["refused", "before a clear"])
def test_a_record_of_before_in_one_of_two_destinations_never_pays_twice(
    earlier: str, lax: Emulator, generate: Any, tmp_path: Path
) -> None:
    here, there = (tmp_path / "here").as_uri(), (tmp_path / "there").as_uri()
    one = generate(submit_timeout=0)
    if earlier == "refused":
        lax.faults.add(on="create", action="error", status=429, times=1)
        with pytest.raises(KlingRateLimitError):
            one.begin(destination=here)
    else:
        one.begin(destination=here)
        one.max_tries += 2
    before = len(billed(lax))
    one.begin(destination=there)
    assert len(billed(lax)) == before + 1
    lax.advance(120)
    assert one.begin(destination=here)["kling_task_id"] == billed(lax)[-1]["task_id"]
    assert len(billed(lax)) == before + 1


def test_a_generation_that_failed_is_made_again(kling: Emulator, generate: Any, archive: Path) -> None:
    kling.faults.add(on="create", action="fail_task", message="out of memory", times=1)
    one = generate()
    one.begin()
    kling.advance(120)
    with pytest.raises(Exception, match="out of memory"):
        one.resume()
    one.begin()
    kling.advance(120)
    assert one.resume()["kling_task_id"] == billed(kling)[1]["task_id"]
    assert len(manifests(archive)) == 1


# --- before paying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("{{ params.nothing }}", "destination has become None, it must be a URL such as s3://bucket/prefix"),
        ("{{ params.blank }}", "destination has become '', it must be a URL"),
        ("{{ params.odd }}", "destination is 'archive', it must be a URL"),
        ("{{ params.left }}", "destination still has '{{ ds }}' in it"),
        ("{{ params.unknown }}", "no provider for carrier-pigeon:// is installed on this worker"),
        ("{{ params.up }}", "has '.' or '..' in its path"),
    ],
)
def test_a_destination_that_cannot_work_is_refused_before_paying(
    destination: str, words: str, kling: Emulator, generate: Any
) -> None:
    one = generate(destination=destination)
    one.context["params"] = {
        "nothing": None,
        "blank": "",
        "odd": "archive",
        "left": "s3://b/{{ ds }}",
        "unknown": "carrier-pigeon://b/k",
        "up": "s3://b/../k",
    }
    with pytest.raises(KlingInputError, match=words.replace("(", r"\(")) as caught:
        one.begin()
    assert "othing was submitted" in str(caught.value)
    assert kling.ledger()["requests"]["create"] == 0


def test_a_destination_that_is_not_allowed_is_refused_before_paying(
    kling: Emulator, generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLING__ALLOWED_DESTINATIONS", "s3://ours/")
    with pytest.raises(KlingInputError, match=r"which .kling. allowed_destinations does not allow") as caught:
        generate().begin()
    assert str(caught.value).endswith("Nothing was submitted.")
    assert kling.ledger()["requests"]["create"] == 0


def test_a_destination_that_is_not_allowed_any_more_gets_nothing(
    kling: Emulator, generate: Any, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLING__ALLOWED_DESTINATIONS", archive.as_uri())
    one = generate(destination="{{ params.to }}")
    one.context["params"] = {"to": archive.as_uri()}
    one.begin()
    kling.advance(120)
    one.context["params"] = {"to": (tmp_path / "theirs").as_uri()}
    with pytest.raises(KlingInputError, match=r"does not allow.* is billed: a retry archives it"):
        one.resume()
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize("kind", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_class_of_s3_that_cannot_be_read_back_is_refused_before_paying(
    kind: str, kling: Emulator, generate: Any
) -> None:
    one = generate(
        TaskState(), destination="s3://my_s3@images/kling", s3_extra_args={"StorageClass": "{{ params.kind }}"}
    )
    one.context["params"] = {"kind": kind}
    with pytest.raises(KlingInputError, match=f"StorageClass {kind}, whose objects cannot be read"):
        one.begin()
    assert kling.ledger()["requests"]["create"] == 0


@pytest.mark.parametrize("destination", ["", "archive", "s3://", "s3://b/../k"])
def test_a_destination_that_cannot_be_one_is_refused_while_parsing(destination: str, subjects: list[str]) -> None:
    with pytest.raises(KlingInputError):
        KlingMultiImageToImageOperator(task_id="generate", subject_images=subjects, destination=destination)


# --- as DAG runs ------------------------------------------------------------------------------------------------------

HEAD = """
from airflow.providers.common.compat.sdk import DAG
from airflow_kling.operators.generate import KlingMultiImageToImageOperator

OPTIONS = {"subject_images": SUBJECTS, "destination": DESTINATION, "deferrable": True, "poke_interval": 0.05}
"""

ONE = (
    HEAD
    + """
with DAG("kling_one_task", schedule=None) as dag:
    KlingMultiImageToImageOperator(task_id="generate", prompt="{{ dag.dag_id }}", n=2, **OPTIONS)
"""
)

MAPPED = (
    HEAD
    + """
with DAG("kling_one_task_mapped", schedule=None) as dag:
    KlingMultiImageToImageOperator.partial(task_id="generate", **OPTIONS).expand(prompt=["a cat", "a dog"])
"""
)


def xcoms_of(dag_run: Any) -> dict[tuple[str, int, str], str]:
    """Return the XComs of a run as the database has them, as text."""
    try:
        from airflow.models.xcom import XComModel
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom as XComModel
    with create_session() as session:
        rows = session.query(XComModel).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id).all()
        return {(row.task_id, row.map_index, row.key): str(row.value) for row in rows}


@pytest.mark.usefixtures("airflow_home")
@pytest.mark.parametrize(("source", "rows"), [(ONE, [-1]), (MAPPED, [0, 1])], ids=["one", "mapped"])
def test_a_dag_of_one_task(source: str, rows: list[int], fast: Emulator, run: Any, archive: Path) -> None:
    name = "kling_one_task" if len(rows) == 1 else "kling_one_task_mapped"
    dag_run = run(name, source)
    assert states(dag_run) == {f"generate[{row}]": "success" for row in rows}
    prompts = {name} if len(rows) == 1 else {"a cat", "a dog"}
    assert {manifest["request"]["prompt"] for manifest in manifests(archive)} == prompts
    left = xcoms_of(dag_run)
    returned = [value for (_, _, key), value in left.items() if key == "return_value"]
    assert len(returned) == len(rows)
    assert all("manifest.json" in value for value in returned)
    assert "token=" not in "".join(left.values())
    assert fast.ledger()["requests"]["create"] == len(rows)


@pytest.mark.usefixtures("airflow_home")
@pytest.mark.parametrize(("source", "rows"), [(ONE, 1), (MAPPED, 2)], ids=["one", "mapped"])
def test_its_asset_event_has_the_manifest(source: str, rows: int, fast: Emulator, run: Any, archive: Path) -> None:
    try:
        from airflow.models.asset import AssetEvent
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetEvent as AssetEvent
    dag_run = run("kling_one_task" if rows == 1 else "kling_one_task_mapped", source)
    with create_session() as session:
        extras = [dict(event.extra) for event in session.query(AssetEvent).filter_by(source_run_id=dag_run.run_id)]
    told = {extra["manifest"]: {name: extra[name] for name in ("request", "task", "run")} for extra in extras}
    assert len(extras) == rows
    assert told == {
        f"{archive.as_uri()}/{manifest['kling_task_id']}/manifest.json": {
            name: manifest[name] for name in ("request", "task", "run")
        }
        for manifest in manifests(archive)
    }
