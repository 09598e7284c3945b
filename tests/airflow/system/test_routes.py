"""Tests every route on two gateways in a real Airflow: archived in S3, billed once, listed by the gallery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from airflow_kling.api.routes import route_names
from deploy.local.samples import draw_samples
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run
from tests.airflow.harness.storage import BUCKET, Storage

GATEWAYS = ("cometapi", "official")
GROUPS = [(gateway, route) for gateway in GATEWAYS for route in route_names()]


@pytest.fixture(scope="module")
def before(kling: Emulator) -> set[str]:
    """The Kling tasks of other tests."""
    return {task["task_id"] for account in kling.ledger()["accounts"].values() for task in account["tasks"]}


@pytest.fixture(scope="module")
def run(before: set[str], run_dag: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    picture = draw_samples(tmp_path_factory.mktemp("samples"))["mug"]
    return run_dag("kling_routes", picture=str(picture), destination=f"s3://{BUCKET}/routes")


def test_every_route_ends_well(run: Run) -> None:
    assert {name: state for name, state in run.states().items() if state != "success"} == {}
    assert run.state == "success"


@pytest.mark.parametrize(("gateway", "route"), GROUPS)
def test_the_result_is_in_s3(run: Run, storage: Storage, gateway: str, route: str) -> None:
    archived = run.xcom(f"{gateway}_{route}.archive")
    kind = "videos" if route.endswith("video") else "images"
    assert archived["route"] == route
    objects = storage.archives(f"routes/{archived['kling_task_id']}")[""]
    names = {entry["uri"].rpartition("/")[2]: entry["bytes"] for entry in archived[kind]}
    assert names
    assert {name: len(objects[name]) for name in names} == names
    assert "manifest.json" in objects


def test_one_generation_is_billed_for_each(run: Run, kling: Emulator, before: set[str]) -> None:
    accounts = kling.ledger()["accounts"].values()
    billed = [task for account in accounts for task in account["tasks"] if task["task_id"] not in before]
    assert Counter((task["gateway"], task["route"]) for task in billed) == Counter(GROUPS)
    ours = {run.xcom(f"{gateway}_{route}.archive")["kling_task_id"] for gateway, route in GROUPS}
    assert {task["task_id"] for task in billed} == ours


def test_the_gallery_lists_them(run: Run) -> None:
    page = run.api.page("/kling/gallery", dag_id=run.dag_id, run_id=run.run_id)
    ids = {run.xcom(f"{gateway}_{route}.archive")["kling_task_id"]: (gateway, route) for gateway, route in GROUPS}
    assert [group for kling_task_id, group in ids.items() if kling_task_id not in page] == []
