"""Describes a route as data, and finds the endpoint that a request is for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from airflow_kling.emulator.drawing import Order
from airflow_kling.emulator.fields import Rule
from airflow_kling.emulator.gateways import Gateway
from airflow_kling.emulator.mp4 import VideoFacts

Fields = Mapping[str, Any]
"""The checked fields of a request, under the route's names for them."""


Problem = Callable[[Fields], str | None]
"""Why fields that are right each for itself are wrong together, None if they are not."""


def no_problem(fields: Fields) -> None:
    """Find nothing wrong."""


def _index(task_id: str, index: int, fields: Fields) -> dict[str, Any]:
    return {"index": index}


@dataclass(frozen=True)
class ResultList:
    """One list of a finished task's ``task_result``.

    :param name: its key, e.g. ``images``
    :param count: how many results the list has for these fields; with 0 the list is left out
    :param draw: makes one result: an image, or the bytes of a file of ``media_type``
    :param media_type: of the files; None for images in the emulator's own format
    :param item: what an entry has beside its URLs, from the task id, the index and the fields
    :param beside: what the task's ``task_result`` has beside the list
    """

    name: str
    count: Callable[[Fields], int]
    draw: Callable[[Order], Image.Image | bytes]
    media_type: str | None = None
    item: Callable[[str, int, Fields], dict[str, Any]] = _index
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """What one gateway makes of a route.

    :param path: below the gateway's prefix
    :param fields: rules that differ from the route's
    :param spelling: names of fields that differ from the route's
    :param lacks: fields of the route that the gateway does not know
    :param when: on a path that several routes share, the field by which a request is known to be for this one;
        None for the route that takes every other request
    :param problem: as the route's, for this gateway only
    """

    gateway: Gateway
    path: str
    fields: Mapping[str, Rule] = field(default_factory=dict)
    spelling: Mapping[str, str] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    when: str | None = None
    problem: Problem = no_problem


@dataclass(frozen=True)
class Route:
    """One kind of generation.

    :param name: as the product calls it
    :param fields: the rule of every field
    :param variants: the gateways that have it
    :param results: the lists of results it makes; a task takes one slot for each result
    :param price: units of a task
    :param problem: why fields that are right each for itself are wrong together, None if they are not
    :param video_problem: why a task with this video as a reference fails, None if it does not
    :param pack: the resource pack whose units are deducted: ``image``, ``video`` or ``try-on``
    """

    name: str
    fields: Mapping[str, Rule]
    variants: tuple[Variant, ...]
    results: tuple[ResultList, ...]
    price: Callable[[Fields], float]
    problem: Problem = no_problem
    video_problem: Callable[[Fields, VideoFacts], str | None] = lambda fields, facts: None
    pack: str = "image"

    def slots(self, fields: Fields) -> int:
        """How many results a task makes, and so how many slots it takes [C]."""
        return sum(results.count(fields) for results in self.results)


@dataclass(frozen=True, eq=False)
class Endpoint:
    """A route on a gateway."""

    route: Route
    variant: Variant

    @property
    def gateway(self) -> Gateway:
        """The gateway that serves it."""
        return self.variant.gateway

    def problem(self, fields: Fields) -> str | None:
        """Why these fields are wrong together, None if they are not."""
        return self.route.problem(fields) or self.variant.problem(fields)

    @functools.cached_property
    def path(self) -> str:
        """Where to create (POST), to list (GET) and, followed by ``/{id}``, to query (GET)."""
        return self.gateway.prefix + self.variant.path

    @functools.cached_property
    def rules(self) -> dict[str, tuple[str, Rule]]:
        """The route's name of each field, with the gateway's spelling and the rule."""
        rules = {**self.route.fields, **self.variant.fields}
        spelling = self.variant.spelling
        return {
            name: (spelling.get(name, name), rule) for name, rule in rules.items() if name not in self.variant.lacks
        }

    @functools.cached_property
    def foreign_fields(self) -> frozenset[str]:
        """Fields that the route has on other gateways only."""
        # Fields of no gateway are not among them: an unknown field is ignored, as the API seems to do [I].
        everywhere = set(self.route.fields)
        for variant in self.route.variants:
            everywhere |= {*variant.fields, *variant.spelling.values()}
        return frozenset(everywhere - {spelling for spelling, _ in self.rules.values()})


def endpoints_by_path(routes: Iterable[Route]) -> dict[str, list[Endpoint]]:
    """Every path that is served, with the endpoints that share it.

    The two CometAPI gateways have the same prefix, so a path that both have needs a variant of one of them only.
    """
    by_path: dict[str, list[Endpoint]] = {}
    for route in routes:
        for variant in route.variants:
            endpoint = Endpoint(route, variant)
            by_path.setdefault(endpoint.path, []).append(endpoint)
    for endpoints in by_path.values():
        # The one that takes every other request comes last.
        endpoints.sort(key=lambda endpoint: endpoint.variant.when is None)
    return by_path


def choose(endpoints: list[Endpoint], body: Any) -> Endpoint:
    """The endpoint that a request is for, of those that share its path."""
    names = body if isinstance(body, dict) else {}
    return next((endpoint for endpoint in endpoints if endpoint.variant.when in names), endpoints[-1])
