"""Describes an archived task in ``manifest.json``: what was asked, what came back, and which bytes lie where. Pure.

The manifest is written last. Where it is and names every image, a task is archived.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from airflow_kling.api.redact import redact_url
from airflow_kling.api.routes import find_route
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.storage.keys import MAX_INDEX, UNVERIFIED_EXTENSIONS, image_key, unverified_key

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


class UnverifiedFile(BaseModel):
    """A result that was paid for and fetched whole, but could not be verified as an image. It lies aside.

    :param key: name relative to the destination.
    :param reason: why not, as a sentence.
    :param source_url: where it came from, redacted.
    :param accepted: the archive operator was told to take it as it is.
    """

    model_config = ConfigDict(frozen=True)

    index: int = Field(ge=0, le=MAX_INDEX)
    uri: str
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    reason: str
    source_url: str
    accepted: bool = False


Entry = ManifestImage | UnverifiedFile


class Manifest(BaseModel):
    """What ``manifest.json`` says.

    :param request: what was asked, as far as it is known; reference images by description, never by payload.
    :param task: what came back; times are ISO 8601 in UTC.
    :param run: the Airflow run that archived it.
    :param unverified: results that lie aside; left out where there are none.
    :param warnings: what a person should know, as sentences; left out where there are none.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_name: Literal["airflow-provider-kling/manifest"] = Field(SCHEMA, alias="schema")
    version: Literal[1] = VERSION
    kling_task_id: str
    request: dict[str, Any]
    task: dict[str, Any]
    run: dict[str, Any]
    images: tuple[ManifestImage, ...]
    unverified: tuple[UnverifiedFile, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def entries(self) -> dict[int, Entry]:
        """All results by their index, verified or not."""
        found: list[Entry] = [*self.images, *self.unverified]
        return {entry.index: entry for entry in found}

    @model_validator(mode="after")
    def _keys_belong_to_the_task(self) -> Manifest:
        if not self.entries:
            raise ValueError("there is no image")
        if len(self.entries) != len(self.images) + len(self.unverified):
            raise ValueError("two images have the same index")
        for image in self.images:
            self._check_key(image, image_key, EXTENSIONS)
        for file in self.unverified:
            self._check_key(file, unverified_key, UNVERIFIED_EXTENSIONS)
        return self

    def _check_key(self, entry: Entry, make_key: Callable[[str, int, str], str], extensions: tuple[str, ...]) -> None:
        if entry.key not in {make_key(self.kling_task_id, entry.index, extension) for extension in extensions}:
            raise ValueError(f"{entry.key!r} is not image {entry.index} of the task")

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value or name not in ("unverified", "warnings")}


def build_manifest(
    task: KlingTask, entries: Iterable[Entry], *, request: Mapping[str, Any], run: Mapping[str, Any]
) -> Manifest:
    """Put a manifest together. What its lists do not name is left out, so no secret and no payload gets in.

    :param task: the finished task.
    :param request: the request record; ``references`` is a list of descriptions of reference images.
    :param run: ``dag_id``, ``run_id``, ``task_id``, ``map_index``.
    :raises KlingInputError: there is no such route.
    """
    asked = _pick(request, (*find_route(task.route).recorded_fields, "gateway", "route", "estimated_units"))
    if request.get("references"):
        asked["references"] = [_describe(reference) for reference in request["references"]]
    ordered = sorted(entries, key=lambda entry: entry.index)
    return Manifest(
        kling_task_id=task.kling_task_id,
        request=asked,
        task=_pick(task.to_xcom(), _TASK),
        run=_pick(run, _RUN),
        images=tuple(entry for entry in ordered if isinstance(entry, ManifestImage)),
        unverified=tuple(entry for entry in ordered if isinstance(entry, UnverifiedFile)),
        warnings=tuple(_warnings(request, len(ordered))),
    )


def _warnings(request: Mapping[str, Any], delivered: int) -> Iterable[str]:
    asked = request.get("n")
    if isinstance(asked, int) and delivered < asked:
        yield f"{asked} images were asked for, and {delivered} delivered."


def dump_manifest(document: BaseModel) -> bytes:
    """Write a manifest or a review: the same bytes for the same content, readable for people too."""
    content = document.model_dump(mode="json", by_alias=True)
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def relocate(manifest: Manifest, uri: Callable[[str], str]) -> Manifest:
    """Return a manifest with the addresses of the store that it lies in: an archive may have been moved.

    :param uri: makes the address of a key.
    """
    return manifest.model_copy(
        update={
            name: tuple(entry.model_copy(update={"uri": uri(entry.key)}) for entry in getattr(manifest, name))
            for name in ("images", "unverified")
        }
    )


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
    """Return what goes into XCom: ``{"manifest", "kling_task_id", "images": [{"index", "uri", "sha256", ...}]}``.

    ``unverified`` and ``warnings`` are there only where there are any.
    """
    manifest = archive.manifest
    images = [image.model_dump(exclude={"key", "source_url"}) for image in manifest.images]
    unverified = [
        file.model_dump(include={"index", "uri", "sha256", "bytes", "reason"}) for file in manifest.unverified
    ]
    return {
        "manifest": archive.uri,
        "kling_task_id": manifest.kling_task_id,
        "images": images,
        **({"unverified": unverified} if unverified else {}),
        **({"warnings": list(manifest.warnings)} if manifest.warnings else {}),
    }


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
