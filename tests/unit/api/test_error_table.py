"""Every error the API documents becomes one exception: class, fields, and a sentence that says what to do."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.error_table import answer_error, no_such_model, retry_after_seconds, task_failure
from airflow_kling.api.retry import delay_after_refusal, nothing_was_created, with_money
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAPIError,
    KlingAuthenticationError,
    KlingBadRequestError,
    KlingContentRejectedError,
    KlingError,
    KlingPermissionError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)

NOW = 1_800_000_000.0


def error_of(status: int, body: Any, *, task: str | None = None, **headers: str) -> KlingAPIError:
    response = httpx.Response(status, headers=headers)
    return answer_error(response, body, now=NOW, kling_task_id=task)


# HTTP status, service code, class, a word of the advice: section 3 of the API notes, row by row.
OFFICIAL = [
    (401, 1000, KlingAuthenticationError, "password"),
    (401, 1001, KlingAuthenticationError, "password"),
    (401, 1002, KlingAuthenticationError, "password"),
    (401, 1003, KlingAuthenticationError, "clock"),
    (401, 1004, KlingAuthenticationError, "clock"),
    (429, 1100, KlingAccountError, "abnormal"),
    (429, 1101, KlingAccountError, "arrears"),
    (429, 1102, KlingAccountError, "used up"),
    (403, 1103, KlingPermissionError, "no right"),
    (400, 1200, KlingBadRequestError, "parameter"),
    (400, 1201, KlingBadRequestError, "parameter"),
    (404, 1202, KlingAPIError, "method"),
    (404, 1203, KlingBadRequestError, "does not exist"),
    (400, 1300, KlingContentRejectedError, "change the prompt or the images"),
    (400, 1301, KlingContentRejectedError, "change the prompt or the images"),
    (429, 1302, KlingRateLimitError, "too many requests"),
    (429, 1303, KlingRateLimitError, "parallel tasks"),
    (429, 1304, KlingAccountError, "white list"),
    (500, 5000, KlingServerError, "internal error"),
    (503, 5001, KlingServerError, "maintenance"),
    (504, 5002, KlingServerError, "internal timeout"),
]
RETRYABLE = {1302, 1303, 5000, 5001, 5002}


@pytest.mark.parametrize("as_code", [int, str], ids=["number", "text"])
@pytest.mark.parametrize(("status", "code", "kind", "advice"), OFFICIAL, ids=[str(row[1]) for row in OFFICIAL])
def test_official_table(status: int, code: int, kind: type[KlingError], advice: str, as_code: type) -> None:
    error = error_of(status, {"code": as_code(code), "message": "what Kling says", "request_id": "r-1"})
    assert type(error) is kind
    assert (error.http_status, error.code, error.request_id) == (status, str(code), "r-1")
    assert error.kling_task_id is None
    assert error.retryable is (code in RETRYABLE)
    assert advice in str(error)
    assert "what Kling says" in str(error)
    assert "r-1" in str(error)


@pytest.mark.parametrize(("status", "code", "kind", "advice"), OFFICIAL, ids=[str(row[1]) for row in OFFICIAL])
def test_code_decides_even_where_the_status_says_success(status: int, code: int, kind: type, advice: str) -> None:
    error = error_of(200, {"code": code, "message": "SUCCEED"})
    assert type(error) is kind
    assert error.http_status == 200


@pytest.mark.parametrize("code", [1100, 1101, 1102, 1304])
def test_an_account_that_cannot_pay_is_not_called_a_rate_limit(code: int) -> None:
    text = str(error_of(429, {"code": code, "message": "m"})).lower()
    assert "rate limit" not in text
    assert "too many requests" not in text
    assert "wait and try again" not in text


@pytest.mark.parametrize("code", [1300, 1301])
def test_moderation_is_not_called_a_bad_parameter(code: int) -> None:
    assert "parameter" not in str(error_of(400, {"code": code, "message": "m"}))


def comet(code: str, message: str = "says CometAPI (request id: 2025)") -> dict[str, Any]:
    return {"error": {"message": message, "type": "comet_api_error", "param": "", "code": code}}


COMET = [
    (400, comet("invalid_request"), KlingBadRequestError, "invalid_request"),
    (400, comet(""), KlingBadRequestError, None),
    (401, comet(""), KlingAuthenticationError, None),
    (402, comet(""), KlingAccountError, None),
    (403, comet(""), KlingPermissionError, None),
    (403, comet("insufficient_user_quota"), KlingAccountError, "insufficient_user_quota"),
    (404, {"code": None, "message": "404"}, KlingAPIError, None),
    (404, comet(""), KlingAPIError, None),
    (405, comet(""), KlingAPIError, None),
    (408, comet(""), KlingServerError, None),
    (413, comet(""), KlingBadRequestError, None),
    (422, comet(""), KlingBadRequestError, None),
    (429, comet(""), KlingRateLimitError, None),
    (500, comet("invalid_request"), KlingBadRequestError, "invalid_request"),
    (500, comet(""), KlingServerError, None),
    (500, comet("do_request_failed"), KlingServerError, "do_request_failed"),
    (503, comet(""), KlingServerError, None),
    (504, comet(""), KlingServerError, None),
    (524, comet(""), KlingServerError, None),
    (418, comet("teapot"), KlingAPIError, "teapot"),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"), COMET, ids=[f"{s}-{k.__name__}-{c}" for s, _, k, c in COMET]
)
def test_cometapi_bodies(status: int, body: Any, kind: type[KlingError], code: str | None) -> None:
    error = error_of(status, body)
    assert type(error) is kind
    assert (error.http_status, error.code) == (status, code)
    assert error.retryable is (kind in (KlingServerError, KlingRateLimitError))


def test_message_of_cometapi_is_shown_with_its_request_id() -> None:
    assert "says CometAPI (request id: 2025)" in str(error_of(500, comet("")))


NOT_JSON = [
    (200, KlingServerError),
    (400, KlingServerError),
    (401, KlingAuthenticationError),
    (403, KlingServerError),
    (404, KlingAPIError),
    (429, KlingRateLimitError),
    (500, KlingServerError),
    (502, KlingServerError),
    (524, KlingServerError),
]


@pytest.mark.parametrize(("status", "kind"), NOT_JSON)
def test_page_in_place_of_json(status: int, kind: type[KlingError]) -> None:
    error = error_of(status, None)
    assert type(error) is kind
    assert (error.http_status, error.code, error.request_id) == (status, None, None)


@pytest.mark.parametrize("body", [[], "text", 7, None], ids=str)
def test_json_that_is_no_object_is_not_the_apis_answer(body: Any) -> None:
    assert type(error_of(200, body)) is KlingServerError


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("body", [None, {"code": None}], ids=["page", "json"])
def test_redirect_points_at_the_route_and_is_not_repeated(status: int, body: Any) -> None:
    error = error_of(status, body)
    assert type(error) is KlingAPIError
    assert not error.retryable
    assert "host and gateway" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
        (404, {"code": 1203, "message": "task not found", "request_id": "r"}),
        (200, {"code": "1203", "message": "task not found"}),
    ],
)
def test_unknown_task_of_a_query(status: int, body: Any) -> None:
    error = error_of(status, body, task="8334")
    assert type(error) is KlingTaskNotFoundError
    assert error.kling_task_id == "8334"
    assert error.code == str(body["code"])
    assert "8334" in str(error)
    assert "30 days" in str(error)
    assert not error.retryable


def test_1203_of_a_create_is_about_model_or_gateway_and_not_about_a_task() -> None:
    error = error_of(404, {"code": 1203, "message": "model does not exist"})
    assert type(error) is KlingBadRequestError
    assert "model_name" in str(error)


def test_unrouted_path_of_a_query_is_no_unknown_task() -> None:
    assert type(error_of(404, {"code": None, "message": "404"}, task="8334")) is KlingAPIError


PAGE = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 405, 413, 418, 425, 499])
@pytest.mark.parametrize("body", [None, []], ids=["page", "list"])
def test_what_something_in_between_says_of_a_task_passes(status: int, body: Any) -> None:
    error = error_of(status, body, task="8334", **PAGE)
    assert type(error) is KlingServerError
    assert error.retryable
    assert (error.http_status, error.kling_task_id) == (status, "8334")


@pytest.mark.parametrize(("status", "words"), [(302, "host and gateway"), (404, "host and gateway"), (401, "password")])
def test_what_passes_says_what_to_do_if_it_does_not(status: int, words: str) -> None:
    text = str(error_of(status, None, task="8334", **PAGE))
    assert "if it stays so" in text
    assert words in text


@pytest.mark.parametrize("body", [None, {}, {"message": "Unauthorized"}, {"error": "who?"}])
def test_a_key_that_is_refused_in_few_words_is_refused(body: Any) -> None:
    assert type(error_of(401, body, task="8334")) is KlingAuthenticationError


@pytest.mark.parametrize("status", [302, 425, 499])
def test_status_of_something_in_between_passes_whatever_the_body(status: int) -> None:
    assert type(error_of(status, {"code": None}, task="8334")) is KlingServerError


@pytest.mark.parametrize(("status", "body", "kind", "code"), COMET, ids=[str(row[:2]) for row in COMET])
def test_what_the_api_says_of_a_task_is_what_it_says_of_a_create(status: int, body: Any, kind: type, code: str) -> None:
    assert type(error_of(status, body, task="8334")) is kind


def test_rate_limit_without_json_stays_one() -> None:
    assert type(error_of(429, None, task="8334")) is KlingRateLimitError


def test_undocumented_code_is_not_repeated() -> None:
    error = error_of(400, {"code": 4711, "message": "news"})
    assert type(error) is KlingBadRequestError
    assert error.code == "4711"


@pytest.mark.parametrize(
    "body",
    [
        {"code": 4711, "message": "news", "data": {"task_id": "8334"}},
        {"code": None, "data": {"task_id": "8334"}},
        {"data": {"task_id": "8334"}},
        {"error": {"code": "news", "message": "m"}},
    ],
    ids=str,
)
def test_http_success_with_an_undocumented_code_leaves_open_what_happened(body: Any) -> None:
    error = error_of(200, body)
    assert type(error) is KlingServerError
    assert not nothing_was_created(error)


def test_long_message_is_cut() -> None:
    assert len(str(error_of(400, {"code": 1201, "message": "x" * 100_000}))) < 1000


@pytest.mark.parametrize("message", [None, 5, ["a"], {"a": 1}], ids=str)
def test_message_that_is_no_text_is_left_out(message: Any) -> None:
    error = error_of(400, {"code": 1201, "message": message})
    assert type(error) is KlingBadRequestError
    assert "HTTP 400, code 1201)" in str(error)


@pytest.mark.parametrize("status", [*range(300, 600, 7), 429, 524])
@pytest.mark.parametrize("body", [None, {"code": 1}, comet("x")], ids=["page", "native", "comet"])
def test_error_is_one_sentence(status: int, body: Any) -> None:
    text = str(error_of(status, body))
    assert text.endswith(".")
    assert "\n" not in text
    assert f"HTTP {status}" in text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Fri, 15 Jan 2027 08:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
        ("Fri, 15 Jan 2027 08:00:30 +99999999999999999", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Response(429, headers={"Retry-After": header}), now=NOW) == seconds


def test_retry_after_absent() -> None:
    assert retry_after_seconds(httpx.Response(429), now=NOW) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_retry_after_never_raises_and_is_never_negative(text: str) -> None:
    seconds = retry_after_seconds(httpx.Response(429, headers={"Retry-After": text}), now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_retry_after_is_a_field_of_what_may_be_repeated(status: int) -> None:
    error = error_of(status, comet(""), **{"Retry-After": "9"})
    assert isinstance(error, KlingRateLimitError | KlingServerError)
    assert error.retry_after == 9


MODERATED = "Failure to pass the risk control system"


@pytest.mark.parametrize(
    ("reason", "moderated"), [("Image pixel is invalid", False), (MODERATED, True), (MODERATED.upper(), True)]
)
def test_failed_task_tells_the_reason_word_for_word(reason: str, moderated: bool) -> None:
    failure = task_failure(KlingTask(kling_task_id="8334", status="failed", status_message=reason))
    assert failure.status_message == reason
    assert failure.kling_task_id == "8334"
    assert failure.moderated is moderated
    assert failure.retryable is not moderated
    assert f'"{reason}"' in str(failure)
    assert ("same input never passes" in str(failure)) is moderated


def test_failed_task_without_a_reason_says_so() -> None:
    failure = task_failure(KlingTask(kling_task_id="8334", status="failed"))
    assert "no reason given" in str(failure)
    assert failure.status_message == ""


def nested(code: Any, message: str = "what Kling says", request_id: str = "r-1") -> dict[str, Any]:
    """As CometAPI passes an upstream's error on: no code on top."""
    inner = {"code": code, "message": message, "request_id": request_id}
    return {"message": "outer", "data": {"message": "outer", "data": inner}}


def shapes(code: Any) -> list[Any]:
    inner = {"code": code, "message": "what Kling says", "request_id": "r-1"}
    text = json.dumps(inner)
    return [
        nested(code),
        {"message": "m", "data": inner},
        {"error": {"message": text}},
        {"error": {"message": text, "type": "comet_api_error", "code": "upstream_error"}},
        {"error": {"message": f"upstream said: {text}", "code": ""}},
        {"error": text},
        {"code": "fail_to_fetch_task", "message": text, "data": None},
        {"code": 500, "message": "m", "data": text},
        {"message": "m", "data": [inner]},
        {"detail": [{"msg": "m", "error": inner}]},
        {"data": {"data": {"data": {"data": inner}}}},
        {"code": 0, "data": inner},
        text,
    ]


NESTED = [
    (1201, KlingBadRequestError),
    ("1203", KlingBadRequestError),
    (1301, KlingContentRejectedError),
    (1102, KlingAccountError),
    (1303, KlingRateLimitError),
    (1000, KlingAuthenticationError),
]


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500, 503])
@pytest.mark.parametrize(("code", "kind"), NESTED)
def test_the_inner_code_decides_at_any_depth_and_status(status: int, code: Any, kind: type[KlingError]) -> None:
    for body in shapes(code):
        error = error_of(status, body)
        assert type(error) is kind, body
        assert (error.http_status, error.code, error.request_id) == (status, str(code), "r-1")
        assert "what Kling says" in str(error)
        assert nothing_was_created(error)


def test_nested_code_of_an_unknown_task() -> None:
    assert type(error_of(404, nested(1203), task="8334")) is KlingTaskNotFoundError


def test_a_discontinued_model_names_model_gateway_and_what_switches() -> None:
    rule = no_such_model("kling-v2", "cometapi", "multi-image-to-image", others=["kling-v2-1"])
    response = httpx.Response(404)
    for body in ({"code": 1203, "message": "The model is discontinued"}, nested(1203, "The model is discontinued")):
        text = str(answer_error(response, body, now=NOW, host="api.example.com", no_model=rule))
        for words in ("'kling-v2'", "'cometapi'", "model_name='kling-v2-1'", '"models"', "The model is discontinued"):
            assert words in text
        assert "HTTP 404" in text
        assert "api.example.com" in text


@pytest.mark.parametrize(
    "body",
    [
        {"code": 1201, "message": "duplicate", "data": {"task_id": "8334"}},
        {"error": {"message": 'made as {"task_id": "8334"}', "code": ""}},
        {"code": 5000, "data": [{"task_id": 8334}]},
        {"code": 1303, "message": "m", "data": {"info": {"task_id": "8334"}}},
    ],
    ids=str,
)
def test_an_error_names_the_task_that_its_answer_names(body: Any) -> None:
    error = error_of(400, body)
    assert error.kling_task_id == "8334"
    assert "names Kling task 8334" in str(error)
    assert not nothing_was_created(error)
    assert delay_after_refusal(with_money(error), 1, now=0, deadline=99, random_fraction=0) is None


def test_an_answer_that_is_cut_off_names_the_task_too() -> None:
    response = httpx.Response(200, content=b'{"code":0,"data":{"task_id":"8334","task_sta')
    error = answer_error(response, None, now=NOW)
    assert type(error) is KlingServerError
    assert error.kling_task_id == "8334"


def test_several_ids_name_none() -> None:
    assert error_of(500, {"data": [{"task_id": "1"}, {"task_id": "2"}]}).kling_task_id is None


LOGIN = b"<html><head><title>\n Sign in to  ACME </title></head></html>"


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (200, {}, "Sign in to ACME"),
        (403, {}, "Sign in to ACME"),
        (404, {}, "Sign in to ACME"),
        (302, {"Location": "https://portal.example.com/login?token=secret"}, "to portal.example.com"),
        (307, {"Location": "https://[bad"}, ""),
    ],
)
@pytest.mark.parametrize("task", [None, "8334"])
def test_a_page_in_place_of_the_api_names_status_and_host(
    status: int, headers: dict[str, str], words: str, task: str | None
) -> None:
    response = httpx.Response(status, headers=headers, content=LOGIN)
    text = str(answer_error(response, None, now=NOW, kling_task_id=task, host="api.example.com:8443"))
    assert f"HTTP {status}" in text
    assert "at api.example.com:8443" in text
    assert words in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("Fri, 15 Jan 2027 08:10:30 GMT", "Fri, 15 Jan 2027 08:10:00 GMT", 30),
        ("Fri, 15 Jan 2027 07:00:30 GMT", "Fri, 15 Jan 2027 07:00:00 GMT", 30),
        ("Fri, 15 Jan 2027 08:00:30 GMT", "yesterday", 30),
        ("Sat, 15 Jan 2028 08:00:30 GMT", "Fri, 15 Jan 2027 08:00:00 GMT", 3600),
        ("9" * 400, "", 3600),
        ("86400", "", 3600),
    ],
    ids=str,
)
def test_retry_after_is_relative_to_the_answers_own_date(retry_after: str, date: str, seconds: float) -> None:
    response = httpx.Response(429, headers={"Retry-After": retry_after, "Date": date})
    assert retry_after_seconds(response, now=NOW) == seconds
