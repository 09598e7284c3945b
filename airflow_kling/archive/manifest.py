"""Describes an archived task in ``manifest.json``: what was asked, what came back, and which bytes lie where. Pure.

The manifest is written last. Where it is and names every image, a task is archived.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_kling.api.redact import redact_url
from airflow_kling.api.routes import find_route
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.storage.keys import MAX_INDEX, image_key

if TYPE_CHECKING:
    from airflow_kling.api.tasks import KlingTask

SCHEMA: Final = "airflow-provider-kling/manifest"
VERSION: Final = 1
#: A manifest has some 5 kB; what has more than this is something else.
MAX_BYTES: Final = 1024 * 1024

_REFERENCE = ("name", "source", "uri", "sha256", "bytes", "width", "height", "content_type")
_TASK = ("route", "status", "status_message", "created_at", "updated_at", "unit_deduction", "external_task_id")
_RUN = ("dag_id", "run_id", "task_id", "map_index")


class ManifestImage(BaseModel):
    """One archived image.

    :param key: name relative to the destination.
    :param source_url: where it came from, redacted.
    """

    model_config = ConfigDict(frozen=True)

    index: int = Field(ge=0, le=MAX_INDEX)
    uri: str
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    content_type: str
    source_url: str


class Manifest(BaseModel):
    """What ``manifest.json`` says.

    :param request: what was asked, as far as it is known; reference images by description, never by payload.
    :param task: what came back; times are ISO 8601 in UTC.
    :param run: the Airflow run that archived it.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_name: Literal["airflow-provider-kling/manifest"] = Field(SCHEMA, alias="schema")
    version: Literal[1] = VERSION
    kling_task_id: str
    request: dict[str, Any]
    task: dict[str, Any]
    run: dict[str, Any]
    images: tuple[ManifestImage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _keys_belong_to_the_task(self) -> Manifest:
        indexes = [image.index for image in self.images]
        if len(set(indexes)) != len(indexes):
            raise ValueError("two images have the same index")
        for image in self.images:
            if image.key not in {image_key(self.kling_task_id, image.index, extension) for extension in EXTENSIONS}:
                raise ValueError(f"{image.key!r} is not image {image.index} of the task")
        return self


def build_manifest(
    task: KlingTask, images: Iterable[ManifestImage], *, request: Mapping[str, Any], run: Mapping[str, Any]
) -> Manifest:
    """Put a manifest together. What its lists do not name is left out, so no secret and no payload gets in.

    :param task: the finished task.
    :param request: the request record; ``references`` is a list of descriptions of reference images.
    :param run: ``dag_id``, ``run_id``, ``task_id``, ``map_index``.
    :raises KlingInputError: there is no such route.
    """
    asked = _pick(request, (*find_route(task.route).recorded_fields, "gateway", "route"))
    if request.get("references"):
        asked["references"] = [_describe(reference) for reference in request["references"]]
    return Manifest(
        kling_task_id=task.kling_task_id,
        request=asked,
        task=_pick(task.to_xcom(), _TASK),
        run=_pick(run, _RUN),
        images=tuple(sorted(images, key=lambda image: image.index)),
    )


def dump_manifest(document: BaseModel) -> bytes:
    """Write a manifest or a review: the same bytes for the same content, readable for people too."""
    content = document.model_dump(mode="json", by_alias=True)
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse_manifest(data: bytes) -> Manifest | None:
    """Read a manifest; None when it is damaged or not one of this version, so that it is written anew."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Archive:
    """An archived task.

    :param uri: where the manifest lies.
    """

    manifest: Manifest
    uri: str


def summarize(archive: Archive) -> dict[str, Any]:
    """Return what goes into XCom: ``{"manifest", "kling_task_id", "images": [{"index", "uri", "sha256", ...}]}``."""
    images = [image.model_dump(exclude={"key", "source_url"}) for image in archive.manifest.images]
    return {"manifest": archive.uri, "kling_task_id": archive.manifest.kling_task_id, "images": images}


def describe_event(archive: Archive) -> dict[str, Any]:
    """Return the extra of an Asset event: the summary, what was asked, what came back, and the run."""
    return {**summarize(archive), **archive.manifest.model_dump(mode="json", include={"request", "task", "run"})}


def _pick(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _describe(reference: Mapping[str, Any]) -> dict[str, Any]:
    description = _pick(reference, _REFERENCE)
    if "uri" in description:
        description["uri"] = redact_url(description["uri"])
    return description
