"""Tests that the judge passes a run with each row billed once and archived once, and no other."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.airflow.distributed.judge import MANIFEST, Generation, judge

ROWS = ["row 0", "row 1", "row 2"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def generation(kling_task_id: str, row: str) -> Generation:
    return Generation(
        kling_task_id, row, (sha256(f"{kling_task_id}/0".encode()), sha256(f"{kling_task_id}/1".encode()))
    )


def archive(kling_task_id: str) -> dict[str, bytes]:
    images = {f"{index}.png": f"{kling_task_id}/{index}".encode() for index in (0, 1)}
    listed = [
        {"index": index, "uri": f"s3://kling/archive/{kling_task_id}/{name}", "sha256": sha256(content)}
        for index, (name, content) in enumerate(images.items())
    ]
    return {**images, MANIFEST: json.dumps({"images": listed}).encode()}


def run() -> tuple[list[Generation], dict[str, dict[str, bytes]]]:
    """A run in which all went well."""
    generations = [generation(f"g{number}", row) for number, row in enumerate(ROWS)]
    return generations, {one.kling_task_id: archive(one.kling_task_id) for one in generations}


def counts(*found: Any) -> tuple[int, int, int]:
    verdict = judge(ROWS, *found)
    assert not verdict.passed
    assert verdict.deviations
    return verdict.billed, verdict.archived, verdict.duplicates


def test_one_of_each_passes() -> None:
    verdict = judge(ROWS, *run())
    assert verdict.passed
    assert (verdict.wanted, verdict.billed, verdict.archived, verdict.duplicates) == (3, 3, 3, 0)


def test_nothing_at_all_fails() -> None:
    assert counts([], {}) == (0, 0, 0)


def test_row_billed_twice_fails_even_when_only_one_is_archived() -> None:
    generations, objects = run()
    assert counts([*generations, generation("g9", "row 1")], objects) == (4, 3, 1)


def test_row_billed_twice_and_archived_twice_fails() -> None:
    generations, objects = run()
    assert counts([*generations, generation("g9", "row 1")], objects | {"g9": archive("g9")}) == (4, 3, 1)


def test_duplicate_does_not_make_up_for_a_row_that_was_not_billed() -> None:
    generations, objects = run()
    moved = [*generations[:2], generation("g2", "row 1")]
    assert counts(moved, objects) == (3, 2, 1)


def test_generation_of_no_row_fails() -> None:
    generations, objects = run()
    assert counts([*generations, generation("g9", "stranger")], objects | {"g9": archive("g9")}) == (4, 3, 0)


def test_missing_archive_fails() -> None:
    generations, objects = run()
    del objects["g1"]
    assert counts(generations, objects) == (3, 2, 0)


def test_archive_without_manifest_fails() -> None:
    generations, objects = run()
    del objects["g1"][MANIFEST]
    assert counts(generations, objects) == (3, 2, 0)


def test_missing_image_fails() -> None:
    generations, objects = run()
    del objects["g1"]["1.png"]
    assert counts(generations, objects) == (3, 2, 0)


def test_stored_bytes_that_differ_fail() -> None:
    generations, objects = run()
    objects["g1"]["1.png"] += b"!"
    assert counts(generations, objects) == (3, 2, 0)


def test_leftover_file_fails() -> None:
    generations, objects = run()
    objects["g1"]["1.png.part"] = b""
    assert counts(generations, objects) == (3, 2, 0)


def test_archive_of_another_generation_s_images_fails() -> None:
    generations, objects = run()
    objects["g1"] = archive("g2")
    assert counts(generations, objects) == (3, 2, 0)


def test_archive_of_nothing_that_was_billed_fails() -> None:
    generations, objects = run()
    assert counts(generations, objects | {"g9": archive("g9")}) == (3, 3, 0)
