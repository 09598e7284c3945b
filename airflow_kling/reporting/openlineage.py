"""Describes a task to OpenLineage: its datasets, and the ``kling`` facet.

It is imported only when the OpenLineage provider asks, so that provider need not be installed.

A dataset is named as OpenLineage's naming specification says: ``s3://bucket`` + key, ``file`` + path, and for a
reference on the web ``https://host`` + path. An archived picture has the same name as an output of its own archive and
as an input of a clip that is made of it, so that OpenLineage shows the chain. Signed queries and prompts are never in
an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import attrs
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import RunFacet

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.api.values import RESULT_KINDS
from airflow_kling.exceptions import KlingInputError

FACET = "kling"
#: The schema lies beside this module, in ``KlingRunFacet.json``.
SCHEMA_URL = "urn:airflow-provider-kling:KlingRunFacet:1-1-0#/$defs/KlingRunFacet"


@attrs.define
class KlingRunFacet(RunFacet):
    """The generation that a run submitted, waited for or archived; a field is None where the task does not know it.

    :param klingTaskId: id of the Kling task.
    :param route: of the Kling API, e.g. ``multi-image-to-image``.
    :param gateway: name of the gateway.
    :param model: ``model_name`` as it was sent.
    :param promptSha256: of the prompt in UTF-8, in hex.
    :param aspectRatio: as it was sent.
    :param n: images that were asked for.
    :param units: billed for the generation, out of the pack of its route.
    :param resultKind: what the route makes, ``image`` or ``video``.
    :param mode: quality of a video, as it was sent.
    :param durationSeconds: of a video, as it was asked for.
    :param estimatedUnits: what the generation was thought to cost.
    """

    klingTaskId: str | None = None
    route: str | None = None
    gateway: str | None = None
    model: str | None = None
    promptSha256: str | None = None
    aspectRatio: str | None = None
    n: int | None = None
    units: float | None = None
    resultKind: str | None = None
    mode: str | None = None
    durationSeconds: float | None = None
    estimatedUnits: float | None = None

    @staticmethod
    def _get_schema() -> str:
        return SCHEMA_URL


def operator_lineage(
    *,
    kling_task_id: str | None,
    asked: Mapping[str, Any],
    units: float | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> OperatorLineage[Dataset, RunFacet]:
    """Return inputs, outputs and the ``kling`` facet.

    :param asked: the request record, see :func:`airflow_kling.reporting.xcom.describe_request`; empty where it is not
        known. One without a route is of :data:`airflow_kling.api.routes.DEFAULT_ROUTE`.
    :param units: billed, None where the generation is not known to have ended.
    :param inputs: URIs, see :mod:`airflow_kling.reporting.lineage`.
    :param outputs: likewise.
    """
    prompt, duration = asked.get("prompt"), asked.get("duration")
    route = asked.get("route") or (DEFAULT_ROUTE if asked else None)
    facet = KlingRunFacet(
        klingTaskId=kling_task_id,
        route=route,
        gateway=asked.get("gateway"),
        model=asked.get("model_name"),
        promptSha256=hashlib.sha256(prompt.encode()).hexdigest() if prompt else None,
        aspectRatio=asked.get("aspect_ratio"),
        n=asked.get("n"),
        units=units,
        resultKind=_kind_of(route),
        mode=asked.get("mode"),
        durationSeconds=float(duration) if duration else None,
        estimatedUnits=asked.get("estimated_units"),
    )
    return OperatorLineage(
        inputs=[_dataset(uri) for uri in inputs],
        outputs=[_dataset(uri) for uri in outputs],
        run_facets={FACET: facet},
    )


def _kind_of(route: str | None) -> str | None:
    """Return what a route makes; None for one that is not known here."""
    try:
        results = find_route(route).results if route else ()
    except KlingInputError:
        results = ()
    return RESULT_KINDS.get(results[0]) if results else None


def _dataset(uri: str) -> Dataset:
    # A query, which may sign the address, was removed where the reference was described.
    scheme, _, rest = uri.partition("://")
    authority, _, path = rest.partition("/")
    if scheme in ("file", "local"):
        return Dataset(namespace="file", name=f"/{unquote(path)}")
    return Dataset(namespace=f"{scheme}://{authority}", name=path or "/")
