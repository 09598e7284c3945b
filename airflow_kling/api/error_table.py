"""Turns an answer that is not a success into one exception, by the documented error table.

Decided by the service code first, then by the HTTP status, never by message text. The code is the innermost that is
documented: a gateway passes its upstream's error on inside of its own.
Source: Kling's error table and CometAPI's error page [C].
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_kling.api.envelope import MESSAGE, SHORT, Said, named_task, printable, read_error
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

LONGEST_RETRY_AFTER = 3600.0  # seconds

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


DOCUMENTED = frozenset({*BY_CODE, *TASK_NOT_FOUND_CODES})
_TITLE = re.compile(rb"<title[^>]*>([^<]+)", re.IGNORECASE)
LONGEST_HEAD = 10_000  # bytes of a page in which its title is looked for
NO_MODEL = "1203"  # of a create: "The model is discontinued" [W]


def no_such_model(model_name: str, gateway_name: str, route: str, *, others: Iterable[str]) -> ErrorRule:
    """Make the rule for a create whose model the gateway does not have (any more).

    :param others: models to name, the likeliest first.
    """
    other = next(iter(others), "another model")
    return ErrorRule(
        KlingBadRequestError,
        f"model {model_name!r} is discontinued or unknown on gateway {gateway_name!r}",
        f"switch with model_name={other!r} of the operator, or for every task with "
        f'"models": {{"{route}": ["{other}"]}} in the extra of the connection',
    )


def says_error(body: Any) -> bool:
    """Tell whether an answer says in so many words that it is an error, whatever its HTTP status and outer code."""
    if isinstance(body, dict) and body.get("error"):
        return True
    return read_error(body, DOCUMENTED).code in DOCUMENTED


def answer_error(
    response: httpx.Response,
    body: Any,
    *,
    now: float,
    kling_task_id: str | None = None,
    host: str = "",
    no_model: ErrorRule | None = None,
) -> KlingAPIError:
    """Make the exception for an answer that is not a success; it knows the Kling task that the answer names.

    :param body: the decoded JSON, None when it was not JSON.
    :param now: epoch seconds, for a ``Retry-After`` that is a date.
    :param kling_task_id: the task that was asked for, None for a create.
    :param host: who was asked.
    :param no_model: what a 1203 means for a create.
    """
    error = read_error(body, DOCUMENTED)
    rule = _rule_of(response, error.code, body, of_task=kling_task_id is not None)
    if no_model and error.code == NO_MODEL and kling_task_id is None:
        rule = no_model
    named = None if kling_task_id else named_task(body, response.content)
    fields: dict[str, Any] = {}
    if issubclass(rule.error, KlingRateLimitError | KlingServerError):
        fields["retry_after"] = retry_after_seconds(response, now=now)
    return rule.error(
        _sentence(response, rule, error, body, task=kling_task_id, host=host, named=named),
        http_status=response.status_code,
        code=error.code or None,
        request_id=error.request_id or None,
        kling_task_id=kling_task_id or named,
        **fields,
    )


def _sentence(
    response: httpx.Response, rule: ErrorRule, error: Said, body: Any, *, task: str | None, host: str, named: str | None
) -> str:
    status = f"HTTP {response.status_code}" + (f", code {error.code}" if error.code else "")
    message = error.message or _words_of_page(response, body)
    return (
        "Kling answered"
        + (f" for task {printable(task)}" if task else "")
        + (f" at {host}" if host else "")
        + f": {rule.what} ({status}"
        + (f': "{message}"' if message else "")
        + f"); {rule.advice}"
        + (f" (request id {error.request_id})." if error.request_id else ".")
        + (f" The answer names Kling task {named}." if named else "")
    )


def _words_of_page(response: httpx.Response, body: Any) -> str:
    """Say what came in place of the API's answer: where a redirect leads, or the title of a page."""
    if 300 <= response.status_code < 400:
        try:
            host = urlsplit(response.headers.get("Location", "")).hostname
        except ValueError:
            host = None
        return f"to {printable(host)}" if host else ""
    title = _TITLE.search(response.content[:LONGEST_HEAD]) if body is None else None
    return printable(title[1].decode("utf-8", "replace"), SHORT) if title else ""


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
    said = printable(reason, MESSAGE) or "no reason given"
    return KlingTaskFailed(
        f'Kling failed to generate task {task.kling_task_id}: "{said}"; {advice}.',
        kling_task_id=task.kling_task_id,
        status_message=reason,
        moderated=moderated,
    )


def retry_after_seconds(response: httpx.Response, *, now: float) -> float | None:
    """Return ``Retry-After`` in seconds, from a number or an HTTP date; None when absent or unreadable.

    A date is relative to the answer's own, since the clock here may be another.

    :param now: epoch seconds, for an answer that has no date.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(LONGEST_RETRY_AFTER, float(value))
    until = moment(value)
    if until is None:
        return None
    answered = moment(response.headers.get("Date", ""))
    return min(LONGEST_RETRY_AFTER, max(0.0, until - (now if answered is None else answered)))


def moment(date: str) -> float | None:
    """Read an HTTP date as epoch seconds; None where it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
