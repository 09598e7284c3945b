"""Tells which generations were made from results of others. Pure.

The author of a DAG can write any XCom. So a reference counts as a result of another generation only where both name the
same SHA-256: who knows that has had the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_kling.plugins.gallery.filters import KINDS
from airflow_kling.plugins.gallery.rows import Identity, Row
from airflow_kling.plugins.gallery.values import as_mapping, request_of, text

#: Of one value; they bound what a hostile XCom makes the gallery look for.
MAX_CLAIMS = 6
_KLING_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Claim(NamedTuple):
    """A result of a generation, as a reference or an archive names it.

    :param kind: one of :data:`airflow_kling.plugins.gallery.filters.KINDS`
    :param number: its index among those of its kind
    """

    kling_task_id: str
    kind: str
    number: int
    sha256: str


class Generation(NamedTuple):
    """A generation that the user may read.

    :param label: what a link to it says
    """

    identity: Identity
    label: str


@dataclass(frozen=True)
class Chains:
    """What the generations of a page were made from, and what was made from them.

    :param sources: the generation whose archive has this result
    :param uses: generations that were made from this result
    """

    sources: Mapping[Claim, Generation] = field(default_factory=dict)
    uses: Mapping[Claim, list[Generation]] = field(default_factory=dict)


NO_CHAINS = Chains()


def claim_of(described: Mapping[str, Any], kling_task_id: Any = None) -> Claim | None:
    """Return which result a description is one of; None where it is none.

    :param described: a reference of a request record, or a result of an archive.
    :param kling_task_id: of the generation, where the description names none.
    """
    found = described.get("kling_task_id") if kling_task_id is None else kling_task_id
    kind, index, sha256 = (described.get(name) for name in ("kind", "index", "sha256"))
    if not (isinstance(found, str) and _KLING_TASK_ID.fullmatch(found) and kind in KINDS):
        return None
    if isinstance(index, bool) or not isinstance(index, int):
        return None
    return Claim(found, kind, index, sha256) if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


def sources_of(row: Row) -> list[Claim]:
    """Return of which results the references of a generation claim to be."""
    request = request_of(as_mapping(row.value), archived=row.archived)
    return _claims(request.get("references"))


def results_of(value: Any, kling_task_id: str) -> set[Claim]:
    """Return the results of an archived generation.

    :param value: of the XCom of its archive task.
    """
    archive = as_mapping(value)
    found: set[Claim | None] = set()
    for kind in KINDS:
        results = archive.get(f"{kind}s")
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict):
                # A poster that became a reference is one of its video.
                for file in (result, {**as_mapping(result.get("poster")), "index": result.get("index")}):
                    found.add(claim_of({**file, "kind": kind}, kling_task_id))
    return {claim for claim in found if claim}


def uses_of(value: Any, source: str) -> tuple[str, str, list[Claim]] | None:
    """Return id and route of a generation, and which results of another one it was made from; None where it is none.

    :param value: see :func:`airflow_kling.reporting.xcom.describe_uses`.
    :param source: Kling task id of the other one.
    """
    use = as_mapping(value)
    kling_task_id = use.get("kling_task_id")
    if not (isinstance(kling_task_id, str) and _KLING_TASK_ID.fullmatch(kling_task_id)):
        return None
    return kling_task_id, text(use.get("route"))[:60], _claims(use.get("results"), source)


def prompt_label(value: Any, kling_task_id: str) -> str:
    """Return what a link to an archived generation says."""
    prompt = text(as_mapping(as_mapping(value).get("asked")).get("prompt"))
    return f"{prompt[:60]}…" if len(prompt) > 60 else prompt or f"generation {kling_task_id}"


def _claims(described: Any, kling_task_id: str | None = None) -> list[Claim]:
    items: Iterable[Any] = described if isinstance(described, list) else ()
    claims = [claim_of(item, kling_task_id) for item in items if isinstance(item, dict)]
    return [claim for claim in claims if claim][:MAX_CLAIMS]
