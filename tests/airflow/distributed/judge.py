"""Judges a run: every row must be billed once, and archived once and whole."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Generation:
    """A billed generation of the emulator's ledger.

    :param row: the prompt that it was asked for.
    :param images: SHA-256 of each image, in order, as the emulator serves it.
    """

    kling_task_id: str
    row: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of the rows.

    :param wanted: rows of the run.
    :param billed: generations that are paid for.
    :param archived: rows with a whole archive: a manifest, and every image as the emulator serves it.
    :param duplicates: generations that a row paid for beyond its first.
    :param deviations: everything that is not as it should be, in words.
    """

    wanted: int
    billed: int
    archived: int
    duplicates: int
    deviations: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Everything is as it should be."""
        return not self.deviations and (self.billed, self.archived, self.duplicates) == (self.wanted, self.wanted, 0)


def judge(
    rows: Sequence[str], generations: Sequence[Generation], objects: Mapping[str, Mapping[str, bytes]]
) -> Verdict:
    """Compare.

    :param rows: the prompt of each row.
    :param objects: the storage: Kling task id -> name -> content.
    """
    paid = Counter(generation.row for generation in generations)
    problems = {generation.kling_task_id: _archive_problems(generation, objects) for generation in generations}
    archived = {one.row for one in generations if not problems[one.kling_task_id]} & set(rows)
    known = {generation.kling_task_id for generation in generations}
    deviations = [
        *(f"{row!r} was billed {paid[row]} times, not once" for row in rows if paid[row] != 1),
        *(f"{row!r} was billed and is no row" for row in sorted(paid.keys() - set(rows))),
        *(f"{kling_task_id}: {problem}" for kling_task_id, found in problems.items() for problem in found),
        *(f"{folder} in the storage is no billed generation" for folder in sorted(objects.keys() - known)),
    ]
    duplicates = sum(count - 1 for count in paid.values())
    return Verdict(len(rows), len(generations), len(archived), duplicates, tuple(deviations))


def _archive_problems(generation: Generation, objects: Mapping[str, Mapping[str, bytes]]) -> list[str]:
    files = dict(objects.get(generation.kling_task_id, {}))
    manifest = files.pop(MANIFEST, None)
    if manifest is None:
        return ["not archived: no manifest"]
    listed = sorted(json.loads(manifest)["images"], key=lambda image: image["index"])
    stored = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    problems = []
    if tuple(image["sha256"] for image in listed) != generation.images:
        problems.append("the manifest does not list the images that Kling serves")
    if {_name(image): image["sha256"] for image in listed} != stored:
        problems.append("what is stored is not what the manifest lists")
    return problems


def _name(image: Mapping[str, Any]) -> str:
    return str(image["uri"]).rpartition("/")[2]
