"""From an operator's fields to a request: what is templated waits for the run, what is literal is checked at once."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.api.tasks import MultiImageToImageRequest

FIELDS = (
    "subject_images",
    "prompt",
    "model_name",
    "scene_image",
    "style_image",
    "n",
    "aspect_ratio",
    "negative_prompt",
    "watermark_info",
    "callback_url",
    "external_task_id",
)
SINGLE_IMAGES = ("scene_image", "style_image")
_JINJA = ("{{", "{%", "{#")
_LITERAL = (str, bytes, int, float, PathLike, type(None))


def is_literal(value: Any) -> bool:
    """Whether a field holds what it will hold at run time: no template, no XCom or parameter to be resolved."""
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, list | tuple):
        return all(map(is_literal, value))
    if isinstance(value, dict):
        return all(map(is_literal, value.values()))
    return isinstance(value, _LITERAL)


def check_literals(fields: Mapping[str, Any]) -> None:
    """Check what can be checked while a DAG file is parsed: no I/O, no connection.

    :raises KlingInputError: a literal breaks a limit that every gateway has.
    """
    from airflow_kling.api.limits import plainly_valid
    from airflow_kling.api.reference_checks import check_reference_literal

    checked: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "subject_images" and isinstance(value, list | tuple):
            for position, reference in enumerate(value):
                if is_literal(reference):
                    check_reference_literal(reference, name=f"{name}[{position}]")
            checked[name] = ["an image"] * len(value)
        elif name in SINGLE_IMAGES:
            if value and is_literal(value):
                check_reference_literal(value, name=name)
        elif name == "subject_images":
            if is_literal(value):
                checked[name] = ["an image"] * len(as_list(value))
        elif value is not None and is_literal(value):
            checked[name] = value
    if not plainly_valid(checked):
        from airflow_kling.api.tasks import MultiImageToImageRequest

        MultiImageToImageRequest.check_literals(checked)


def build_request(
    fields: Mapping[str, Any], *, open_file: Callable[[str], BinaryIO]
) -> tuple[MultiImageToImageRequest, list[dict[str, Any]]]:
    """The request and the descriptions of its reference images, from rendered fields.

    :param open_file: opens an object storage URL.
    :raises KlingInputError: a limit is broken or an image cannot be read.
    """
    from airflow_kling.api.reference_images import load_reference
    from airflow_kling.api.tasks import MultiImageToImageRequest

    given: dict[str, Any] = dict(fields)
    subjects = as_list(fields["subject_images"])
    # The limits that cost nothing first, so that no image is read for a request that is refused anyway.
    MultiImageToImageRequest.parse(
        {**given, "subject_images": ["an image"] * len(subjects), **dict.fromkeys(SINGLE_IMAGES)}
    )
    loaded = [load_reference(s, name=f"subject_images[{i}]", open_file=open_file) for i, s in enumerate(subjects)]
    given["subject_images"] = [reference.wire for reference in loaded]
    for name in SINGLE_IMAGES:
        value = given[name]
        if value is None or (isinstance(value, str) and not value.strip()):
            given[name] = None
            continue
        loaded.append(load_reference(value, name=name, open_file=open_file))
        given[name] = loaded[-1].wire
    return MultiImageToImageRequest.parse(given), [reference.description for reference in loaded]


def from_text(value: Any) -> Any:
    """The list or dict that a template has rendered to its text; every other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{", "(")):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError):
                return read(value.strip())
    return value


def as_list(value: Any) -> list[Any]:
    """``subject_images`` as a list; a template renders a list to its text, ``"['a', 'b']"`` or JSON."""
    value = from_text(value)
    if isinstance(value, list | tuple):
        return list(value)
    kind = "a single text" if isinstance(value, str) else f"a {type(value).__name__}"
    raise KlingInputError(f"subject_images is {kind}, it must be a list of 1 to 4 images; nothing was submitted.")


def describe(request: MultiImageToImageRequest, references: list[dict[str, Any]], *, gateway: str) -> dict[str, Any]:
    """What was asked, for XCom and manifest: no payload, no secret."""
    asked = request.model_dump(exclude={"subject_images", "scene_image", "style_image", "callback_url"})
    return {**asked, "gateway": gateway, "references": references}


def xcom_key(kling_task_id: str) -> str:
    """The XCom key of what was asked: one per generation, so that the archive task finds it whatever the mapping."""
    return f"kling_request_{kling_task_id}"
