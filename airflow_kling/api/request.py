"""Makes a request out of an operator's fields: reference images are read, checked and encoded, limits are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from annotated_types import MaxLen, MinLen

from airflow_kling.api.archived import first_archived, is_archived
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import Gateway
from airflow_kling.api.route import Route, VideoClass
from airflow_kling.api.rules import broken_rules
from airflow_kling.api.values import from_text, is_blank, is_missing, plain, shortened
from airflow_kling.exceptions import KlingInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from airflow_kling.api.reference_images import SignUrl

#: Stands for an image where only the other limits are checked.
PLACEHOLDER = "an image"


def build_request(
    route: Route,
    fields: Mapping[str, Any],
    *,
    open_file: Callable[[str], BinaryIO],
    sign_url: SignUrl | None = None,
    as_url: bool = False,
) -> tuple[KlingRequest, list[dict[str, Any]]]:
    """Build the request, and describe its reference images.

    :param fields: rendered fields of the route.
    :param open_file: opens an object storage URL.
    :param sign_url: makes a URL of an object, by which Kling fetches it.
    :param as_url: send every reference as a URL, and not only videos.
    :raises KlingInputError: a limit is broken, a reference cannot be read, or no URL can be made of one; nothing was
        submitted.
    """
    # Not while a DAG file is parsed: it checks literals with the functions below, and reads no image.
    from airflow_kling.api.reference_images import load_reference
    from airflow_kling.api.reference_videos import load_video

    media = {name: media_items(route, name, fields.get(name)) for name in route.media}
    # The limits that cost nothing first, so that no image is read for a request that is refused anyway.
    route.request.parse({**fields, **_replaced(route, media, lambda item, name: PLACEHOLDER)})
    references: list[dict[str, Any]] = []

    def load(item: Any, called: str) -> str:
        name = called.partition("[")[0]
        limits, reference = route.media[name].media_class, reference_of(route, name, item)
        if isinstance(limits, VideoClass):
            loaded = load_video(reference, name=called, limits=limits, open_file=open_file, sign_url=sign_url)
        else:
            sign = sign_url if as_url else None
            loaded = load_reference(reference, name=called, limits=limits, open_file=open_file, sign_url=sign)
        # What else an object says, such as the type of a frame, is part of what was asked.
        references.append({**other_keys(route, name, item), **loaded.description})
        return loaded.wire

    return route.request.parse({**fields, **_replaced(route, media, load)}), references


def is_video(route: Route, name: str) -> bool:
    """Tell whether a field holds videos."""
    return isinstance(route.media[name].media_class, VideoClass)


def media_value(route: Route, name: str, value: Any) -> Any:
    """Return the references of a field: a list of them, or a single one; None where a single one is not given."""
    items = media_items(route, name, value)
    return [reference_of(route, name, item) for item in items] if isinstance(items, list) else items


def reference_of(route: Route, name: str, item: Any) -> Any:
    """Return the reference of a list's item, which may be an object with more in it, as the API has it."""
    key = route.media[name].list_of
    return item[key] if isinstance(item, Mapping) and key in item else item


def other_keys(route: Route, name: str, item: Any) -> dict[str, Any]:
    """Return what a list's item has beside its reference."""
    key = route.media[name].list_of
    if not (isinstance(item, Mapping) and key in item):
        return {}
    return {name: value for name, value in item.items() if name != key and not is_blank(value)}


def with_reference(route: Route, name: str, item: Any, reference: str) -> Any:
    """Return a list's item with another reference."""
    key = route.media[name].list_of
    return {**item, key: reference} if isinstance(item, Mapping) and key in item else reference


def media_items(route: Route, name: str, value: Any) -> Any:
    """Return a field's list as it is given, or its single reference; a list that may be left out is empty then."""
    optional = not route.request.model_fields[name].is_required()
    if route.media[name].list_of is None:
        return None if is_blank(value) else first_archived(value)
    return [] if optional and is_blank(value) else as_list(route, name, value)


def _replaced(route: Route, media: Mapping[str, Any], replace: Callable[[Any, str], str]) -> dict[str, Any]:
    """Return the media fields with each reference replaced.

    :param replace: takes a list's item or a single reference, and how errors call it, such as ``image_list[1]``.
    """

    def replaced(name: str, value: Any) -> Any:
        if not isinstance(value, list):
            return None if value is None else replace(value, name)
        return [
            with_reference(route, name, item, replace(item, f"{name}[{position}]"))
            for position, item in enumerate(value)
        ]

    return {name: replaced(name, value) for name, value in media.items()}


def for_gateway(
    route: Route, request: KlingRequest, gateway: Gateway, references: Sequence[Mapping[str, Any]] = ()
) -> KlingRequest:
    """Return the request as this gateway takes it, with its default model filled in.

    :param references: what :func:`build_request` says of them.
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
    if known := sorted(request.extra_fields.keys() & {*_spellings(route, gateway).values()}):
        raise KlingInputError(
            f"extra_fields has {known[0]}, which is a field of the route: give it as a parameter; nothing was "
            "submitted."
        )
    models = known_models(route, gateway)
    if models and not getattr(request, "model_name", None):
        request = request.model_copy(update={"model_name": models[0]})
    # Again, since some depend on the model; and the gateway's own.
    broken = [*request.broken_rules(), *broken_rules(endpoint.rules, request, route.fields)]
    if broken := [*broken, *_broken_by_videos(route, getattr(request, "model_name", None), references)]:
        raise KlingInputError(f"{'; '.join(broken)}; nothing was submitted.")
    return request


def _broken_by_videos(route: Route, model_name: str | None, references: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which videos the model does not take, of those whose header could be read."""
    for reference in references:
        name = str(reference["name"])
        limits = route.media[name.partition("[")[0]].of_model.get(str(model_name))
        if (
            limits
            and "duration" in reference
            and (clause := limits.broken(name, reference, who=f"model {model_name!r}"))
        ):
            yield clause


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


def unknown_limits(route: Route, request: KlingRequest) -> str | None:
    """Warn of a model of which it is not known what it takes, as a sentence; Kling checks it then."""
    model_name, table = getattr(request, "model_name", None), route.request.model_table
    if model_name in table or not table or model_name is None:
        return None
    fields = ", ".join(sorted({name for allowed in table.values() for name in allowed}))
    return (
        f"What model {model_name!r} takes of {fields} is not known here, so only the limits of the route "
        f"{route.name!r} were checked; it is sent as it is."
    )


def build_body(route: Route, request: KlingRequest, gateway: Gateway) -> dict[str, Any]:
    """Spell a request, which must have been through :func:`for_gateway`, as the gateway's JSON body."""
    spellings = _spellings(route, gateway)
    body: dict[str, Any] = {}
    for name, value in request.model_dump(exclude_none=True).items():
        media = route.media.get(name)
        if media is not None and media.list_of is not None:
            value = [item if isinstance(item, dict) else {media.list_of: item} for item in value]
        body[spellings.get(name, name)] = value
    return {**body, **request.extra_fields}


def _spellings(route: Route, gateway: Gateway) -> dict[str, str]:
    return {**route.body_names, **route.endpoint(gateway.name).spellings}


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
    noun = route.media[name].media_class.noun
    raise KlingInputError(f"{name} is {kind}, it must be a list of {least} to {most} {noun}s; nothing was submitted.")


def _list_limits(route: Route, name: str) -> tuple[int, int]:
    """Return how many items a list of the request may have."""
    limits = {type(limit): limit for limit in route.request.model_fields[name].metadata}
    return limits[MinLen].min_length, limits[MaxLen].max_length
