"""Makes a request out of an operator's fields: reference images are read, checked and encoded, limits are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from annotated_types import MaxLen, MinLen

from airflow_kling.api.archived import first_archived, is_archived
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import Gateway
from airflow_kling.api.reference_images import load_reference
from airflow_kling.api.route import ImageClass, Route
from airflow_kling.api.values import from_text, is_blank, is_missing, plain, shortened
from airflow_kling.exceptions import KlingInputError

#: Stands for an image where only the other limits are checked.
PLACEHOLDER = "an image"


def build_request(
    route: Route, fields: Mapping[str, Any], *, open_file: Callable[[str], BinaryIO]
) -> tuple[KlingRequest, list[dict[str, Any]]]:
    """Build the request, and describe its reference images.

    :param fields: rendered fields of the route.
    :param open_file: opens an object storage URL.
    :raises KlingInputError: a limit is broken or an image cannot be read; nothing was submitted.
    """
    media = {name: media_value(route, name, fields.get(name)) for name in route.media}
    # The limits that cost nothing first, so that no image is read for a request that is refused anyway.
    route.request.parse({**fields, **{name: _placeholder(value) for name, value in media.items()}})
    references: list[dict[str, Any]] = []

    def load(reference: object, name: str, limits: ImageClass) -> str:
        loaded = load_reference(reference, name=name, limits=limits, open_file=open_file)
        references.append(loaded.description)
        return loaded.wire

    sent: dict[str, Any] = {}
    for name, value in media.items():
        limits = route.media[name].image_class
        if isinstance(value, list):
            sent[name] = [load(item, f"{name}[{position}]", limits) for position, item in enumerate(value)]
        else:
            sent[name] = None if value is None else load(value, name, limits)
    return route.request.parse({**fields, **sent}), references


def media_value(route: Route, name: str, value: Any) -> Any:
    """Return the reference media of a field: a list, or one of them; None where a single one is not given."""
    if route.media[name].list_of is not None:
        return as_list(route, name, value)
    return None if is_blank(value) else first_archived(value)


def _placeholder(value: Any) -> Any:
    if isinstance(value, list):
        return [PLACEHOLDER] * len(value)
    return None if value is None else PLACEHOLDER


def for_gateway(route: Route, request: KlingRequest, gateway: Gateway) -> KlingRequest:
    """Return the request as this gateway takes it, with its default model filled in.

    :raises KlingInputError: the gateway does not have the route, has another limit, or no such field.
    """
    endpoint = route.endpoint(gateway.name)
    for name, least in endpoint.min_items.items():
        count = len(getattr(request, name))
        if count < least:
            raise KlingInputError(
                f"{name} has {count} image(s), but gateway {gateway.name!r} takes {least} to "
                f"{_list_limits(route, name)[1]}; nothing was submitted."
            )
    for name in sorted(endpoint.not_taken):
        if getattr(request, name) is not None:
            others = " or ".join(repr(other) for other, one in route.endpoints.items() if name not in one.not_taken)
            raise KlingInputError(
                f"{name} is given, but gateway {gateway.name!r} does not take it: leave it out or use {others} as the "
                "connection's gateway; nothing was submitted."
            )
    models = known_models(route, gateway)
    if not models or getattr(request, "model_name", None):
        return request
    return request.model_copy(update={"model_name": models[0]})


def known_models(route: Route, gateway: Gateway) -> tuple[str, ...]:
    """Return the model names of a route on a gateway, the default first: the connection's, else those known here."""
    return gateway.models.get(route.name) or gateway.models.get("*") or route.endpoint(gateway.name).models


def unknown_model(route: Route, request: KlingRequest, gateway: Gateway) -> str | None:
    """Warn of a model name that is not known, as a sentence; it is sent all the same, since models come and go."""
    model_name, models = getattr(request, "model_name", None), known_models(route, gateway)
    if model_name in models or not models:
        return None
    return (
        f"model_name {model_name!r} is not known for route {route.name!r} on gateway {gateway.name!r}, which had "
        f"{', '.join(models)}; it is sent as it is."
    )


def build_body(route: Route, request: KlingRequest, gateway: Gateway) -> dict[str, Any]:
    """Spell a request, which must have been through :func:`for_gateway`, as the gateway's JSON body."""
    spellings = {**route.body_names, **route.endpoint(gateway.name).spellings}
    body: dict[str, Any] = {}
    for name, value in request.model_dump().items():
        if value is None:
            continue
        media = route.media.get(name)
        if media is not None and media.list_of is not None:
            value = [{media.list_of: item} for item in value]
        body[spellings.get(name, name)] = value
    return body


def as_list(route: Route, name: str, value: Any) -> list[Any]:
    """Return a field's list: of any sequence, such as the outputs of mapped tasks, of an array or a column.

    The output of one archive task is a list of that one: Airflow hands over the outputs of mapped tasks so where only
    one of them has come to its end.

    A template renders a list to its text, ``"['a', 'b']"`` or JSON, which becomes that list.

    :raises KlingInputError: it is no list.
    """
    value = plain(from_text(value))
    if is_archived(value):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return list(value)
    kind = "a single text" if isinstance(value, str) else f"a {type(value).__name__}"
    if value is not None and is_missing(value):
        kind = shortened(value)
    least, most = _list_limits(route, name)
    raise KlingInputError(f"{name} is {kind}, it must be a list of {least} to {most} images; nothing was submitted.")


def _list_limits(route: Route, name: str) -> tuple[int, int]:
    """Return how many items a list of the request may have."""
    limits = {type(limit): limit for limit in route.request.model_fields[name].metadata}
    return limits[MinLen].min_length, limits[MaxLen].max_length
