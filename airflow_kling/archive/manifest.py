"""Describes an archived task in ``manifest.json``: what was asked, what came back, and which bytes lie where. Pure.

The manifest is written last. Where it is and names every image, a task is archived.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from airflow_kling.archive.results import ResultKey
from airflow_kling.media.kinds import EXTENSIONS
from airflow_kling.storage.keys import MAX_INDEX, UNVERIFIED_EXTENSIONS, poster_key, result_key, unverified_key

if TYPE_CHECKING:
    from airflow_kling.api.tasks import KlingTask

SCHEMA: Final = "airflow-provider-kling/manifest"
VERSION: Final = 2  # 1 had images alone, and no kinds
#: A manifest has some 5 kB; what has more than this is something else.
MAX_BYTES: Final = 1024 * 1024

_REFERENCE = (
    *("name", "source", "uri", "sha256", "bytes", "width", "height", "content_type", "duration"),
    *("kling_task_id", "kind", "index"),  # of a reference that is an archived result
)
_TASK = ("route", "status", "status_message", "created_at", "updated_at", "unit_deduction", "external_task_id")
_RUN = ("dag_id", "run_id", "task_id", "map_index")


class _Object(BaseModel):
    """An object in the store.

    :param key: name relative to the destination.
    """

    model_config = ConfigDict(frozen=True)

    uri: str
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)


class _Entry(_Object):
    kind: str
    index: int = Field(ge=0, le=MAX_INDEX)
    source_url: str

    @property
    def result_key(self) -> ResultKey:
        """Which result of the task it is."""
        return ResultKey(self.kind, self.index)


class ManifestImage(_Entry):
    """One archived image.

    :param key: name relative to the destination.
    :param source_url: where it came from, redacted.
    """

    kind: Literal["image"] = "image"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    content_type: str


class Poster(_Object):
    """The first frame of a video, as a JPEG."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    content_type: str


class ManifestVideo(_Entry):
    """One archived video.

    :param key: name relative to the destination.
    :param source_url: where it came from, redacted.
    :param duration: seconds, of the file.
    :param codec: of its pictures, as the file names it: ``avc1`` is H.264.
    :param id: Kling's own id of the video, which later routes take.
    :param poster: left out where none could be made.
    """

    kind: Literal["video"] = "video"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    content_type: str
    duration: float = Field(gt=0)
    codec: str
    id: str | None = None
    poster: Poster | None = None

    @model_serializer(mode="wrap")
    def _leave_out_no_poster(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value is not None or name != "poster"}


class UnverifiedFile(_Entry):
    """A result that was paid for and fetched whole, but could not be verified. It lies aside.

    :param kind: of the result, as the API names it.
    :param key: name relative to the destination.
    :param reason: why not, as a sentence.
    :param source_url: where it came from, redacted.
    :param accepted: it is taken as it is: the archive operator was told to, or its kind is one that is never verified.
    """

    kind: Literal["image", "video", "audio", "file"] = "image"
    reason: str
    accepted: bool = False


Entry = ManifestImage | ManifestVideo | UnverifiedFile


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
    version: Literal[2] = VERSION
    kling_task_id: str
    request: dict[str, Any]
    task: dict[str, Any]
    run: dict[str, Any]
    images: tuple[ManifestImage, ...]
    videos: tuple[ManifestVideo, ...] = ()
    unverified: tuple[UnverifiedFile, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def entries(self) -> dict[ResultKey, Entry]:
        """All results, verified or not."""
        found: list[Entry] = [*self.images, *self.videos, *self.unverified]
        return {entry.result_key: entry for entry in found}

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, data: Any) -> Any:
        """Version 1 is version 2 without videos, whose entries are images and do not say so."""
        return {**data, "version": VERSION} if isinstance(data, dict) and data.get("version") == 1 else data

    @model_validator(mode="after")
    def _keys_belong_to_the_task(self) -> Manifest:
        if not self.entries:
            raise ValueError("there is no result")
        if len(self.entries) != len(self.images) + len(self.videos) + len(self.unverified):
            raise ValueError("two results of a kind have the same index")
        for entry in self.entries.values():
            self._check_key(entry)
        return self

    def _check_key(self, entry: Entry) -> None:
        make, extensions = result_key, EXTENSIONS.get(entry.kind, ())
        if isinstance(entry, UnverifiedFile):
            make, extensions = unverified_key, UNVERIFIED_EXTENSIONS
        keys = {make(self.kling_task_id, entry.index, extension, kind=entry.kind) for extension in extensions}
        if entry.key not in keys:
            raise ValueError(f"{entry.key!r} is not {entry.result_key} of the task")
        poster = entry.poster if isinstance(entry, ManifestVideo) else None
        if poster is not None and poster.key != poster_key(self.kling_task_id, entry.index):
            raise ValueError(f"{poster.key!r} is not the poster of {entry.result_key}")

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
    ordered = sorted(entries, key=lambda entry: entry.result_key)
    videos = tuple(entry for entry in ordered if isinstance(entry, ManifestVideo))
    return Manifest(
        kling_task_id=task.kling_task_id,
        request=asked,
        task=_pick(task.to_xcom(), _TASK),
        run=_pick(run, _RUN),
        images=tuple(entry for entry in ordered if isinstance(entry, ManifestImage)),
        videos=videos,
        unverified=tuple(entry for entry in ordered if isinstance(entry, UnverifiedFile)),
        warnings=tuple(_warnings(request, ordered)),
    )


def _warnings(request: Mapping[str, Any], entries: Iterable[Entry]) -> Iterator[str]:
    entries = list(entries)
    asked, delivered = request.get("n"), sum(entry.kind == "image" for entry in entries)
    if isinstance(asked, int) and delivered < asked:
        yield f"{asked} images were asked for, and {delivered} delivered."
    seconds = _seconds(request.get("duration"))
    for entry in entries:
        if isinstance(entry, ManifestVideo) and seconds is not None and entry.duration < seconds - 1:
            yield f"{seconds:g} seconds were asked for, and {entry.result_key} has {entry.duration:.1f}."
        if entry.kind not in EXTENSIONS:
            yield f"{entry.result_key.title} is kept as it came, as {entry.key}: only images and videos are verified."


def _seconds(asked: Any) -> float | None:
    try:
        return float(asked)
    except (TypeError, ValueError):
        return None


def dump_manifest(document: BaseModel) -> bytes:
    """Write a manifest or a review: the same bytes for the same content, readable for people too."""
    content = document.model_dump(mode="json", by_alias=True)
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def relocate(manifest: Manifest, uri: Callable[[str], str]) -> Manifest:
    """Return a manifest with the addresses of the store that it lies in: an archive may have been moved.

    :param uri: makes the address of a key.
    """

    def move(entry: Any) -> Any:
        moved = {"uri": uri(entry.key)}
        poster = getattr(entry, "poster", None)
        return entry.model_copy(update=moved if poster is None else {**moved, "poster": move(poster)})

    lists = ("images", "videos", "unverified")
    return manifest.model_copy(update={name: tuple(map(move, getattr(manifest, name))) for name in lists})


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


def _pick(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _describe(reference: Mapping[str, Any]) -> dict[str, Any]:
    description = _pick(reference, _REFERENCE)
    if "uri" in description:
        description["uri"] = redact_url(description["uri"])
    return description
