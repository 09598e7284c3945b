"""Judges a row: compares the emulator's ledger, the archived files and Airflow's database with the documented end."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from deploy.local.waiting import HUNG, wait_for
from tests.airflow.faults.case import Case
from tests.airflow.faults.model import AIRFLOW_2, End, Outcome

LATE = HUNG  # seconds in which logs of a run that has ended stay as they are, until what they do not say is missed
RESULT = re.compile(r"\d+\.(png|mp4)")


def judge(case: Case, *, seconds: float, broke: str | None = None) -> Outcome:
    """Compare.

    :param seconds: that the row took.
    :param broke: what the harness itself ran into.
    """
    hits = case.hits()
    idle = [f"{fault} never struck" for fault in case.faults if not hits.get(fault) and not case.row.chance]
    for fault in case.faults:
        case.kling.remove(fault)
    tasks = case.kling.tasks(case.token)
    found = _Found(
        billed=[task["task_id"] for task in tasks if task["status"] != "failed"],
        archive=check_archive(case, tasks),
        states=_states(case),
    )
    kills = case.kills()
    alive = [f"process {kill['pid']} is alive" for kill in kills if _is_alive(kill)]
    missing = 0 if case.row.chance else len(case.row.kills) - len(kills)
    unkilled = [f"{missing} kill(s) never happened"] if missing > 0 else []
    deviations = [*([broke] if broke else ()), *idle, *alive, *unkilled, *found.archive[1], *_compare(case, found)]
    return Outcome(
        case.row,
        len(found.billed),
        found.archive[0],
        found.states,
        len(kills),
        seconds,
        tuple(deviations),
        logs=tuple(case.airflow.logs_of_run(case.dag_id, run_id) for run_id in case.runs),
    )


@dataclass(frozen=True)
class _Found:
    billed: list[str]
    archive: tuple[int, list[str]]
    states: dict[str, str]


def check_archive(case: Case, tasks: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Count the images that are archived for good; tell what is there and should not be, or is not what it says.

    An archive is a folder with a manifest: all of the generation's images, each equal to what the emulator serves or
    kept aside under ``unverified/``, and no other file. A folder without a manifest may hold images of a run that has
    failed, never anything but whole ones. On Airflow 2.11 the one task keeps its record of the submission beside them.
    """
    known = {task["task_id"]: task for task in tasks}
    count, wrong = 0, []
    for folder in sorted(case.archive.iterdir()) if case.archive.exists() else ():
        if folder.name == "submissions" and (case.row.line, case.row.dag) == (AIRFLOW_2, "compact"):
            continue
        if folder.name not in known:
            wrong.append(f"{folder.name} in the archive is no generation of this row")
            continue
        served = case.kling.results(known[folder.name])
        files = _contents(folder)
        aside = _contents(folder / "unverified")
        manifest = files.pop("manifest.json", None)
        found = {int(Path(name).stem): data for name, data in files.items() if RESULT.fullmatch(name)}
        posters = {f"{Path(name).stem}.poster.jpg" for name in files if name.endswith(".mp4")}
        wrong += [f"{name} is left over" for name in files if not RESULT.fullmatch(name) and name not in posters]
        wrong += [f"unverified/{name} is left over" for name in aside if not re.fullmatch(r"\d+\.\w+", name)]
        wrong += [f"image {index} differs from Kling's" for index in found if found[index] != served[index]]
        if manifest is None:
            continue
        count += len(found)
        unverified = {int(Path(name).stem): data for name, data in aside.items() if name[0].isdigit()}
        if sorted([*found, *unverified]) != list(range(len(served))):
            wrong.append(f"images {sorted(found)} of {len(served)} are archived under a manifest")
        wrong += _check_manifest(json.loads(manifest), found, unverified)
    return count, wrong


def _contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.iterdir() if file.is_file()) if folder.exists() else ()
    return {file.name: file.read_bytes() for file in files}


def _check_manifest(manifest: dict[str, Any], found: Mapping[int, bytes], unverified: Mapping[int, bytes]) -> list[str]:
    wrong = []
    manifest = {**manifest, "images": [*manifest.get("images", ()), *manifest.get("videos", ())]}
    for name, files in (("images", found), ("unverified", unverified)):
        listed = {entry["index"]: (entry["sha256"], entry["bytes"]) for entry in manifest.get(name, ())}
        actual = {index: (hashlib.sha256(data).hexdigest(), len(data)) for index, data in files.items()}
        wrong += [] if listed == actual else [f"the manifest does not list the {name} that are there"]
    return wrong


def _states(case: Case) -> dict[str, str]:
    first = {one["task_id"]: str(one["state"]) for one in case.instances() if one["run_id"] == case.runs[0]}
    others = {f"{one['task_id']} 2": str(one["state"]) for one in case.instances() if one["run_id"] != case.runs[0]}
    return first | others


def _compare(case: Case, found: _Found) -> list[str]:
    deviations = _differences(case, case.row.end, found)
    if deviations and case.row.otherwise:
        others = _differences(case, case.row.otherwise, found)
        return [*deviations, "nor the other documented end:", *others] if others else []
    return deviations


def _differences(case: Case, end: End, found: _Found) -> list[str]:
    different = []
    if len(found.billed) != end.billed:
        different.append(f"{len(found.billed)} generations billed, not {end.billed}")
    if found.archive[0] != end.images:
        different.append(f"{found.archive[0]} images archived, not {end.images}")
    if found.states != dict(end.states):
        different.append(f"final states {found.states}, not {dict(end.states)}")
    if end.event and not case.has_event(end.event):
        different.append(f"Airflow's audit log has no {end.event!r}")
    if end.timeout:
        different += _wrong_end(case, end.timeout)
    return different or _unsaid(case, end, found)


def _wrong_end(case: Case, timeout: float) -> list[str]:
    began, ended = case.processes("generate")[0]["time"], case.task("generate")["end_date"].timestamp()
    took, at_most = ended - began, case.taken_over - began + timeout
    return [] if timeout <= took < at_most else [f"took {took:.0f} s, not {timeout:.0f} to {at_most:.0f}"]


def _unsaid(case: Case, end: End, found: _Found) -> list[str]:
    """Tell what no log says. A triggerer, and the process that supervises a task, may log after the run has ended."""
    patterns = [pattern.replace("{id}", re.escape((found.billed or ["?"])[0])) for pattern in end.says]

    def missing() -> list[str]:
        text = case.log()
        return [pattern for pattern in patterns if not re.search(pattern, text)]

    try:
        wait_for("what the logs are to say", lambda: not missing(), timeout=LATE, describe=case.log_sizes)
    except TimeoutError:
        return [f"no log says {pattern!r}" for pattern in missing()]
    return []


def _is_alive(kill: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(kill["pid"])
        return bool(process.create_time() < kill["time"]) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
