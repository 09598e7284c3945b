"""Tests the catalogue DAG as a real scheduler runs it: rows fail alone, the pool keeps to the account's concurrency."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from deploy.local.samples import draw_samples
from tests.airflow.harness.archives import check_files
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

REFUSED = "a prompt that moderation refuses"
MODERATION = "Failure to pass the risk control system"
ROWS = {
    "mug": ("mug.png|plant.png", "A mug"),
    "too-small": ("mug.png|tiny.png", "Never sent"),
    "lamp": ("lamp.png|plant.png", "A lamp"),
    "refused": ("mug.png|lamp.png", REFUSED),
    "plant": ("plant.png|mug.png", "A plant"),
    "": ("mug.png|lamp.png", "Without a sku"),
}
GOOD = [index for index, sku in enumerate(ROWS) if sku in ("mug", "lamp", "plant")]
TOO_SMALL, MODERATED, NAMELESS = 1, 3, 5


def write_catalog(folder: Path) -> None:
    draw_samples(folder)
    Image.new("RGB", (120, 120), "red").save(folder / "tiny.png")
    # As Excel exports it: semicolons, CRLF, a byte order mark, blank rows.
    with (folder / "catalog.csv").open("w", newline="", encoding="utf-8-sig") as output:
        writer = csv.writer(output, delimiter=";")
        writer.writerow(("SKU", "Subject Images", "Prompt"))
        writer.writerows((sku, *columns) for sku, columns in ROWS.items())
        output.write(";;;\r\n" * 3)


@pytest.fixture(scope="module")
def destination(catalog_folder: Path) -> Path:
    return catalog_folder / "archive"


@pytest.fixture(scope="module")
def creations(kling: Emulator) -> Callable[[], int]:
    """Requests to create a task since the module began, refused ones as well."""
    before = kling.ledger()["requests"]["create"]
    return lambda: int(kling.ledger()["requests"]["create"] - before)


@pytest.fixture(scope="module")
def run(
    run_dag: Callable[..., Run],
    creations: Callable[[], int],
    kling: Emulator,
    catalog_folder: Path,
) -> Run:
    kling.fault(on="create", match={"prompt": REFUSED}, action="fail_task", message=MODERATION)
    write_catalog(catalog_folder)
    return run_dag("kling_catalog")


def test_a_bad_row_fails_alone(run: Run) -> None:
    states = run.states()
    for index in GOOD:
        assert states[f"product.picture.generate[{index}]"] == "success", states
    for index in (TOO_SMALL, MODERATED, NAMELESS):
        assert states[f"product.picture.generate[{index}]"] == "failed", states


def test_the_run_does_not_hide_the_failure(run: Run) -> None:
    assert run.state == "failed"


def test_failed_rows_say_why(run: Run) -> None:
    assert "300" in run.log(f"product.picture.generate[{TOO_SMALL}]")
    assert MODERATION in run.log(f"product.picture.generate[{MODERATED}]")
    assert "Row 7 of file://" in run.log(f"product.picture.generate[{NAMELESS}]")


def test_waiting_is_deferred(run: Run) -> None:
    for index in GOOD:
        assert run.was_deferred(f"product.picture.generate[{index}]")


def test_the_pool_keeps_within_the_accounts_concurrency(run: Run, creations: Callable[[], int]) -> None:
    # The emulator refuses what is over its slots (1303) and the client would ask again: as many requests as rows that
    # can be sent means that none was refused.
    assert run.state
    assert creations() == len(ROWS) - 2


@pytest.mark.parametrize("index", GOOD)
def test_each_row_is_archived_in_its_own_folder(run: Run, kling: Emulator, destination: Path, index: int) -> None:
    sku = list(ROWS)[index]
    summary = run.xcom("product.picture.generate", index)
    [made] = [task for task in kling.tasks(ROWS[sku][1]) if task["task_id"] == summary["kling_task_id"]]
    manifest = check_files(summary, kling.results(made), destination / sku)
    assert manifest["request"]["prompt"] == ROWS[sku][1]
    assert len(manifest["images"]) == 2


def test_each_archived_row_emits_an_asset_event(run: Run) -> None:
    manifests = {event["extra"]["manifest"] for event in run.asset_events()}
    assert manifests == {run.xcom("product.picture.generate", index)["manifest"] for index in GOOD}


def test_key_is_in_no_log_no_xcom_and_no_other_file(run: Run, assert_key_is_nowhere: Callable[[], None]) -> None:
    assert run.state
    assert_key_is_nowhere()
