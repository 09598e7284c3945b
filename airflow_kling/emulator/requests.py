"""What Kling accepts as a request to create a task.

Deliberately not shared with the client: an emulator that used the client's checks would share its mistakes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from airflow_kling.emulator.errors import BAD_BASE64, ApiError, kling_error
from airflow_kling.emulator.references import MAX_BYTES, NotAnImage, Reference, ReferenceStore
from airflow_kling.emulator.routes import ASPECT_RATIOS, GATEWAYS, MAX_N, MAX_PROMPT, MAX_SUBJECTS, Gateway

_SPECIAL_FIELDS = frozenset().union(*(g.extras | {g.scene_field} for g in GATEWAYS))


@dataclass(frozen=True)
class Creation:
    """A request that Kling accepts.

    :param body: the request for the ledger, images in base64 replaced by ``{"sha256", "bytes"}``
    """

    subjects: tuple[Reference, ...]
    scene: Reference | None
    style: Reference | None
    prompt: str
    n: int
    aspect_ratio: str
    external_task_id: str | None
    callback_url: str | None
    watermark: bool
    body: dict[str, Any]

    @property
    def references(self) -> tuple[Reference, ...]:
        """All reference images."""
        return (*self.subjects, *(image for image in (self.scene, self.style) if image))


def validate(body: Any, gateway: Gateway, store: ReferenceStore) -> Creation:
    """Check a request body.

    :raises ApiError: 400 with code 1200 or 1201
    """
    if not isinstance(body, dict):
        raise kling_error(1200, "request body must be a JSON object")
    foreign = sorted((_SPECIAL_FIELDS - gateway.extras - {gateway.scene_field}) & body.keys())
    if foreign:
        raise _bad(f"parameter '{foreign[0]}' is not supported")
    redacted = dict(body)
    subjects = _subjects(body, gateway, store, redacted)
    scene = _optional_image(body, gateway.scene_field, store, redacted)
    style = _optional_image(body, "style_image", store, redacted)
    _choice(body, "model_name", gateway.models)
    _text(body, "negative_prompt", MAX_PROMPT)
    return Creation(
        subjects=subjects,
        scene=scene,
        style=style,
        prompt=_text(body, "prompt", MAX_PROMPT) or "",
        n=_n(body),
        aspect_ratio=_choice(body, "aspect_ratio", ASPECT_RATIOS),
        external_task_id=_text(body, "external_task_id", 512) or None,
        callback_url=_callback_url(body),
        watermark=_watermark(body),
        body=redacted,
    )


def _bad(message: str) -> ApiError:
    return kling_error(1201, message)


def _subjects(
    body: dict[str, Any], gateway: Gateway, store: ReferenceStore, redacted: dict[str, Any]
) -> tuple[Reference, ...]:
    items = body.get("subject_image_list")
    if not isinstance(items, list):
        raise _bad("subject_image_list is required and must be a list")
    if not gateway.min_subjects <= len(items) <= MAX_SUBJECTS:
        raise _bad(f"subject_image_list must have {gateway.min_subjects} to {MAX_SUBJECTS} images, not {len(items)}")
    images, shown = [], []
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise _bad(f"subject_image_list[{position}] must be an object with subject_image")
        image, short = _image(item.get("subject_image"), f"subject_image_list[{position}].subject_image", store)
        images.append(image)
        shown.append({**item, "subject_image": short})
    redacted["subject_image_list"] = shown
    return tuple(images)


def _optional_image(
    body: dict[str, Any], field: str, store: ReferenceStore, redacted: dict[str, Any]
) -> Reference | None:
    if body.get(field) in (None, ""):
        return None
    image, redacted[field] = _image(body[field], field, store)
    return image


def _image(value: Any, field: str, store: ReferenceStore) -> tuple[Reference, Any]:
    if not isinstance(value, str) or not value:
        raise _bad(f"{field} must be a URL or base64 text")
    if value.startswith(("http://", "https://")):
        return Reference(url=value), value
    if len(value) > MAX_BYTES * 4 // 3 + 4:
        raise _bad(f"{field}: File size exceeds the limit of 10MB")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        # A "data:" prefix ends here too: its colon is no base64 character.
        raise _bad(BAD_BASE64) from error
    try:
        reference = store.admit(data)
    except NotAnImage as error:
        raise _bad(f"{field}: {error}") from error
    return reference, {"sha256": reference.sha256, "bytes": len(data)}


def _text(body: dict[str, Any], field: str, limit: int) -> str | None:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _bad(f"{field} must be a string")
    if len(value) > limit:
        raise _bad(f"{field} is longer than {limit} characters")
    return value


def _choice(body: dict[str, Any], field: str, allowed: tuple[str, ...]) -> str:
    value = body.get(field)
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise _bad(f"{field} value '{value}' is invalid")
    return str(value)


def _n(body: dict[str, Any]) -> int:
    value = body.get("n")
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_N:
        raise _bad(f"n must be a whole number from 1 to {MAX_N}")
    return value


def _callback_url(body: dict[str, Any]) -> str | None:
    value = _text(body, "callback_url", 2048)
    if value and not value.startswith(("http://", "https://")):
        raise _bad("callback_url must be an http or https URL")
    return value or None


def _watermark(body: dict[str, Any]) -> bool:
    value = body.get("watermark_info")
    if value is None:
        return False
    if not isinstance(value, dict) or not isinstance(value.get("enabled", False), bool):
        raise _bad("watermark_info must be an object with a boolean 'enabled'")
    return bool(value.get("enabled", False))
