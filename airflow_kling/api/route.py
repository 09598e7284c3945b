"""Defines what describes a Kling route: its endpoints, its media fields, its results and its pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.rules import Rule


class ImageClass(NamedTuple):
    """What Kling takes as an image of a field.

    :param max_bytes: size of the decoded image.
    :param min_side: pixels of the shorter side.
    :param max_ratio: the long side is at most ``max_ratio[0] / max_ratio[1]`` of the short one; None for no such rule.
    """

    max_bytes: int
    min_side: int
    max_ratio: tuple[int, int] | None

    @property
    def noun(self) -> str:
        """How errors call one."""
        return "image"


#: Seconds over or under a limit that are let pass: a clip of 10 seconds plays one frame longer.
SLACK = 0.5


class VideoClass(NamedTuple):
    """What Kling takes as a video of a field: a URL only, no base64 [C].

    :param formats: content types.
    :param max_bytes: size of the file.
    :param seconds: the shortest and the longest.
    :param sides: pixels of the shortest and the longest side.
    :param max_pixels: width x height; None for no such rule.
    """

    formats: tuple[str, ...]
    max_bytes: int
    seconds: tuple[float, float]
    sides: tuple[int, int]
    max_pixels: int | None = None

    @property
    def noun(self) -> str:
        """How errors call one."""
        return "video"

    def broken(self, name: str, reference: Mapping[str, Any], *, who: str) -> str | None:
        """Say in what a video breaks these limits, as a clause; None where it keeps them.

        :param name: how errors call it.
        :param reference: ``duration``, ``width`` and ``height`` of it.
        :param who: has these limits.
        """
        seconds, sides = reference["duration"], (reference["width"], reference["height"])
        (shortest, longest), (least, most) = self.seconds, self.sides
        if not shortest - SLACK <= seconds <= longest + SLACK:
            return f"{name} plays {seconds:.4g} s, but {who} takes {shortest:g} to {longest:g} s"
        found = f"{name} has {sides[0]}x{sides[1]} pixels, but {who} takes"
        if min(sides) < least or max(sides) > most:
            return f"{found} {least} to {most} a side"
        if self.max_pixels is not None and sides[0] * sides[1] > self.max_pixels:
            return f"{found} {self.max_pixels} at most"
        return None


MediaClass = ImageClass | VideoClass

#: Every image field but those of virtual try-on [C]. The documentation says "10MB" without saying which; the larger
#: reading is taken, so that no image is refused here that the API would take.
IMAGE = ImageClass(max_bytes=10 * 1024 * 1024, min_side=300, max_ratio=(5, 2))
#: What kling-v3-omni takes, which is the widest [W].
VIDEO = VideoClass(
    formats=("video/mp4", "video/quicktime"),
    max_bytes=200 * 1024 * 1024,
    seconds=(3.0, 15.5),
    sides=(700, 4553),
    max_pixels=8_294_400,
)
#: The person and the garment of virtual try-on, for which no ratio is stated [C].
IMAGE_TRY = IMAGE._replace(max_ratio=None)


class MediaField(NamedTuple):
    """A field of a request that holds reference media.

    :param media_class: the limits of each reference.
    :param list_of: the body has a list of objects, each with the reference under this name; None for a single one.
    :param of_model: limits of seconds and sides that a model has, where they differ from model to model.
    """

    media_class: MediaClass
    list_of: str | None = None
    of_model: Mapping[str, VideoClass] = MappingProxyType({})

    def limits_of(self, model_name: str | None) -> Any:
        """Return the limits of a model; of one that is not known those of the field, which are the widest."""
        return self.of_model.get(str(model_name), self.media_class)


class Endpoint(NamedTuple):
    """A route on one gateway.

    :param path: ``POST`` here creates a task, ``GET`` with ``/{task_id}`` behind it queries one.
    :param models: accepted ``model_name`` values, the default first; empty where none is sent.
    :param spellings: body names of the fields that this gateway spells in another way.
    :param not_taken: fields of the request that this gateway does not take.
    :param min_items: least number of items of a list, where it differs from the request's own.
    :param rules: those of this gateway alone.
    """

    path: str
    models: tuple[str, ...] = ()
    spellings: Mapping[str, str] = MappingProxyType({})
    not_taken: frozenset[str] = frozenset()
    min_items: Mapping[str, int] = MappingProxyType({})
    rules: tuple[Rule, ...] = ()


class Pace(NamedTuple):
    """How long a generation of a route takes, and so when polling it is worth a request. All in seconds of age.

    :param first_poll: nothing is ready before.
    :param dense_until: most generations are ready by then.
    :param dense_interval: between two polls until ``dense_until``.
    :param later_interval: between two polls after that, growing with the age.
    :param deadline: what is not finished then is not waited for any longer, unless the author says so.
    :param quick_interval: between two polls, at any age, while few tasks wait on the connection; None for no other.
    """

    first_poll: float
    dense_until: float
    dense_interval: float
    later_interval: float
    deadline: float = 3600.0
    quick_interval: float | None = None


#: Nothing is ready in the first ten seconds, most images in the half minute after that [C].
IMAGE_PACE = Pace(first_poll=11.0, dense_until=25.0, dense_interval=4.2, later_interval=4.85, quick_interval=2.0)
#: Videos take minutes: 160 s from an image, 320 s from a text on average [W].
VIDEO_PACE = Pace(first_poll=60.0, dense_until=400.0, dense_interval=20.0, later_interval=30.0, deadline=7200.0)


@dataclass(frozen=True)
class Route:
    """One kind of generation that Kling offers.

    :param name: such as ``multi-image-to-image``.
    :param endpoints: where it is, by name of the gateway.
    :param request: the pydantic model of its fields.
    :param body_names: how the body spells a field that has another name here.
    :param media: fields that hold reference media.
    :param results: the lists in ``task_result`` that hold results, such as ``("images",)``.
    :param slots_field: the field that says how many of the account's parallel slots a task takes; None for one slot.
    :param series_field: the same where ``result_type`` is ``series``; None where there are no series.
    :param pace: how long a generation takes.
    """

    name: str
    endpoints: Mapping[str, Endpoint]
    request: type[KlingRequest]
    results: tuple[str, ...]
    pace: Pace
    body_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    media: Mapping[str, MediaField] = field(default_factory=lambda: MappingProxyType({}))
    slots_field: str | None = None
    series_field: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the fields of a request; ``extra_fields``, which is none of the API's, left out."""
        return tuple(name for name in self.request.model_fields if name != "extra_fields")

    @property
    def recorded_fields(self) -> tuple[str, ...]:
        """Name the fields that may be recorded: media is described instead, a callback URL may hold a secret.

        Of ``extra_fields``, which may hold secrets too, the names are.
        """
        return (*(name for name in self.fields if name not in self.media and name != "callback_url"), "extra_fields")

    def names_slots(self, fields: Mapping[str, Any]) -> str | None:
        """Name the field of a request that says how many slots its task takes; None for one slot."""
        return self.series_field if fields.get("result_type") == "series" else self.slots_field

    def endpoint(self, gateway_name: str) -> Endpoint:
        """Return where a gateway has this route.

        :raises KlingInputError: the gateway does not have it.
        """
        if gateway_name not in self.endpoints:
            raise KlingInputError(
                f"Gateway {gateway_name!r} has no route {self.name!r}: set the connection's gateway to "
                f"{' or '.join(map(repr, self.endpoints))}; nothing was sent."
            )
        return self.endpoints[gateway_name]
