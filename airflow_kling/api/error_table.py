"""Turns an answer that is not a success into one exception, by the documented error table.

Decided by the service code first, then by the HTTP status, never by message text.
Source: Kling's error table and CometAPI's error page [C].
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAPIError,
    KlingAuthenticationError,
    KlingBadRequestError,
    KlingContentRejectedError,
    KlingPermissionError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskFailed,
    KlingTaskNotFoundError,
)


@dataclass(frozen=True)
class ErrorRule:
    """What an error means: its class, what happened, what to do."""

    error: type[KlingAPIError]
    what: str
    advice: str


_CHECK_KEY = "check the password (or access_key and secret_key) of the connection"
_SIGN_ANEW = "check this machine's clock; the token is signed anew with each try"
_TOP_UP = "top up or renew at the provider, waiting does not help"
_SEE_MESSAGE = "correct the parameter that the message names"
_OTHER_INPUT = "change the prompt or the images, the same input never passes"
_WAIT = "wait and try again"
TRY_LATER = "the API is at fault, try again later"
_CHECK_ROUTE = "check the connection's host and gateway"

BY_CODE = {
    "1000": ErrorRule(KlingAuthenticationError, "authentication failed", _CHECK_KEY),
    "1001": ErrorRule(KlingAuthenticationError, "the Authorization header is empty", _CHECK_KEY),
    "1002": ErrorRule(KlingAuthenticationError, "the Authorization header is invalid", _CHECK_KEY),
    "1003": ErrorRule(KlingAuthenticationError, "the token is not valid yet", _SIGN_ANEW),
    "1004": ErrorRule(KlingAuthenticationError, "the token has expired", _SIGN_ANEW),
    "1100": ErrorRule(KlingAccountError, "the account is in an abnormal state", "ask the provider's support"),
    "1101": ErrorRule(KlingAccountError, "the account is in arrears", _TOP_UP),
    "1102": ErrorRule(KlingAccountError, "the resource pack is used up or has expired", _TOP_UP),
    "1103": ErrorRule(KlingPermissionError, "the account has no right to this API or model", "ask the provider for it"),
    "1200": ErrorRule(KlingBadRequestError, "the parameters are invalid", _SEE_MESSAGE),
    "1201": ErrorRule(KlingBadRequestError, "a parameter is invalid", _SEE_MESSAGE),
    "1202": ErrorRule(KlingAPIError, "there is no such method", _CHECK_ROUTE),
    "1203": ErrorRule(KlingBadRequestError, "the resource does not exist", "check model_name and gateway"),
    "1300": ErrorRule(KlingContentRejectedError, "the platform's policy refuses the input", _OTHER_INPUT),
    "1301": ErrorRule(KlingContentRejectedError, "content moderation refuses the input", _OTHER_INPUT),
    "1302": ErrorRule(KlingRateLimitError, "too many requests", _WAIT),
    "1303": ErrorRule(KlingRateLimitError, "more parallel tasks than the resource pack allows", _WAIT),
    "1304": ErrorRule(KlingAccountError, "this machine's IP is not on the account's white list", "have the IP added"),
    "5000": ErrorRule(KlingServerError, "an internal error", TRY_LATER),
    "5001": ErrorRule(KlingServerError, "the API is under maintenance", TRY_LATER),
    "5002": ErrorRule(KlingServerError, "an internal timeout", TRY_LATER),
    "invalid_request": ErrorRule(KlingBadRequestError, "the request is invalid", _SEE_MESSAGE),
    "insufficient_user_quota": ErrorRule(KlingAccountError, "the balance is insufficient", _TOP_UP),
}

# A failed task has no code, only task_status_msg; these words in it are moderation's [C].
MODERATION_REASONS = ("risk control",)

TASK_NOT_FOUND_CODES = ("task_not_exist", "1203")
_TASK_NOT_FOUND = ErrorRule(
    KlingTaskNotFoundError,
    "there is no such task",
    "use the account and gateway that created it, and note that tasks are deleted after 30 days",
)

BY_STATUS = {
    400: ErrorRule(KlingBadRequestError, "the request is invalid", _SEE_MESSAGE),
    401: ErrorRule(KlingAuthenticationError, "the key was not accepted", _CHECK_KEY),
    402: ErrorRule(KlingAccountError, "payment is required", _TOP_UP),
    403: ErrorRule(KlingPermissionError, "access is forbidden", _CHECK_KEY),
    404: ErrorRule(KlingAPIError, "there is no such route", _CHECK_ROUTE),
    405: ErrorRule(KlingAPIError, "the route does not take this method", _CHECK_ROUTE),
    408: ErrorRule(KlingServerError, "the API gave up waiting for the request", TRY_LATER),
    409: ErrorRule(KlingBadRequestError, "it conflicts with what exists", _SEE_MESSAGE),
    413: ErrorRule(KlingBadRequestError, "the request is too large", "send smaller images or URLs"),
    422: ErrorRule(KlingBadRequestError, "the request is invalid", _SEE_MESSAGE),
    429: ErrorRule(KlingRateLimitError, "too many requests", _WAIT),
}
_REDIRECT = ErrorRule(KlingAPIError, "a redirect came instead of an answer", _CHECK_ROUTE)
_SERVER_ERROR = ErrorRule(KlingServerError, "the API failed", TRY_LATER)
_NOT_JSON = ErrorRule(KlingServerError, "the answer is not JSON but a page of a proxy or a firewall", TRY_LATER)
_UNKNOWN = ErrorRule(KlingAPIError, "an error that is not documented", "ask the provider's support with the request id")
# HTTP says success and the code says neither success nor a known refusal: a create may have created.
_NEITHER = ErrorRule(KlingServerError, "neither a success nor an error that is documented", TRY_LATER)


def answer_error(response: httpx.Response, body: Any, *, now: float, kling_task_id: str | None = None) -> KlingAPIError:
    """Make the exception for an answer that is not a success.

    :param body: the decoded JSON, None when it was not JSON.
    :param now: epoch seconds, for a ``Retry-After`` that is a date.
    :param kling_task_id: the task that was asked for, None for a create.
    """
    code, message, request_id = _fields(body)
    rule = _rule_of(response, code, body, of_task=kling_task_id is not None)
    status = f"HTTP {response.status_code}" + (f", code {code}" if code else "")
    said = f': "{message}"' if message else ""
    task = f" for task {kling_task_id}" if kling_task_id else ""
    fields: dict[str, Any] = {}
    if issubclass(rule.error, KlingRateLimitError | KlingServerError):
        fields["retry_after"] = retry_after_seconds(response, now=now)
    return rule.error(
        f"Kling answered{task}: {rule.what} ({status}{said}); {rule.advice}"
        + (f" (request id {request_id})." if request_id else "."),
        http_status=response.status_code,
        code=code or None,
        request_id=request_id or None,
        kling_task_id=kling_task_id,
        **fields,
    )


def _fields(body: Any) -> tuple[str, str, str]:
    """Return code, message and request id of any error shape: native, wrapped, or CometAPI's ``{"error": {...}}``."""
    if not isinstance(body, dict):
        return "", "", ""
    inner = body["error"] if isinstance(body.get("error"), dict) else body
    code, message = inner.get("code"), inner.get("message")
    request_id = body.get("request_id") or inner.get("request_id")
    return (
        "" if code is None else str(code).strip(),
        " ".join(message.split())[:500] if isinstance(message, str) else "",
        str(request_id or ""),
    )


def _rule_of(response: httpx.Response, code: str, body: Any, *, of_task: bool) -> ErrorRule:
    if of_task and code in TASK_NOT_FOUND_CODES:
        return _TASK_NOT_FOUND
    if code in BY_CODE:
        return BY_CODE[code]
    rule = _rule_of_status(response.status_code, is_json=isinstance(body, dict))
    return _passing(rule) if of_task and not _is_of_the_api(response, body) else rule


def _is_of_the_api(response: httpx.Response, body: Any) -> bool:
    """Tell whether the API itself answered: in JSON, or refusing the key without a page."""
    status = response.status_code
    if 300 <= status < 400 or status in (425, 499):  # elsewhere, too early, hung up: a proxy says so
        return False
    # A login page or a firewall answers in HTML; an API that refuses the key may say nothing at all.
    return isinstance(body, dict) or (status in (401, 403) and "html" not in response.headers.get("Content-Type", ""))


def _passing(rule: ErrorRule) -> ErrorRule:
    """Make it retryable: a page that a proxy shows for a while must not end the wait for a task."""
    if issubclass(rule.error, KlingRateLimitError | KlingServerError):
        return rule
    return ErrorRule(KlingServerError, rule.what, f"try again later, and if it stays so {rule.advice}")


def _rule_of_status(status: int, *, is_json: bool) -> ErrorRule:
    if 300 <= status < 400:
        return _REDIRECT
    if not is_json and status not in (401, 404, 405, 413, 429):
        return _NOT_JSON if status < 500 else _SERVER_ERROR
    if status >= 500:
        return _SERVER_ERROR
    return _NEITHER if status < 300 else BY_STATUS.get(status, _UNKNOWN)


def task_failure(task: KlingTask) -> KlingTaskFailed:
    """Make the exception for a task that ended as ``failed``, with the provider's reason."""
    reason = task.status_message
    moderated = any(words in reason.lower() for words in MODERATION_REASONS)
    advice = _OTHER_INPUT if moderated else "correct the input if the reason names it, else generate again"
    said = " ".join(reason.split()) or "no reason given"
    return KlingTaskFailed(
        f'Kling failed to generate task {task.kling_task_id}: "{said}"; {advice}.',
        kling_task_id=task.kling_task_id,
        status_message=reason,
        moderated=moderated,
    )


def retry_after_seconds(response: httpx.Response, *, now: float) -> float | None:
    """Return ``Retry-After`` in seconds from now, from a number or an HTTP date; None when absent or unreadable."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
