"""Answers become tasks: the native envelope, the wrapped one, and what is missing or contradictory in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api import protocol
from airflow_kling.api.gateways import COMETAPI, GATEWAYS, OFFICIAL
from airflow_kling.api.retry import nothing_was_created
from airflow_kling.api.routes import find_route, route_names
from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingAPIError, KlingServerError, KlingTaskNotFoundError

NOW = 1_800_000_000.0
URL = "https://cdn.example.com/0.png?token=t"


def answer(body: Any, status: int = 200) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, content=content)


def read(body: Any, status: int = 200, asked: str | None = "8334") -> KlingTask:
    """The task; the short reading of the same answer says the same, or leaves it to the long one."""
    got = answer(body, status)
    brief = protocol.read_status(got.content) if status == 200 else None
    try:
        task = protocol.read_task(got, now=NOW, kling_task_id=asked)
    except KlingAPIError:
        assert brief is None
        raise
    assert brief is None or (brief.status, brief.finished) == (task.status, task.finished)
    return task


def native(**data: Any) -> dict[str, Any]:
    return {"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": {"task_id": "8334", **data}}


def wrapped(outer: dict[str, Any], inner: Any, depth: int = 2) -> dict[str, Any]:
    data = inner if depth == 2 else {"code": 0, "message": "SUCCEED", "data": inner}
    return {"code": "success", "message": "", "data": {**outer, "data": data}}


@pytest.mark.parametrize("code", [0, "0", "success"])
@pytest.mark.parametrize("message", ["SUCCEED", "", "error", None])
def test_success_is_told_by_the_code_and_never_by_the_message(code: Any, message: Any) -> None:
    assert read({**native(), "code": code, "message": message}).kling_task_id == "8334"


@pytest.mark.parametrize("code", [200, "200", 1, -1, "SUCCESS", "ok", "fail", None, "", [], {}], ids=str)
@pytest.mark.parametrize("asked", [None, "8334"], ids=["create", "query"])
def test_a_task_is_one_under_any_code_that_is_no_documented_error(code: Any, asked: str | None) -> None:
    assert read({**native(), "code": code}, asked=asked).kling_task_id == "8334"


@pytest.mark.parametrize("code", [1201, "1303", 5000, "insufficient_user_quota"])
def test_a_documented_code_is_an_error_that_names_the_task(code: Any) -> None:
    with pytest.raises(KlingAPIError, match="names Kling task 8334") as caught:
        read({**native(), "code": code}, asked=None)
    assert (caught.value.http_status, caught.value.kling_task_id) == (200, "8334")
    assert not nothing_was_created(caught.value)


@pytest.mark.parametrize("code", [1, "SUCCESS", None])
def test_any_other_code_without_a_task_is_an_error(code: Any) -> None:
    with pytest.raises(KlingAPIError) as caught:
        read({"code": code, "message": "m", "data": None}, asked=None)
    assert caught.value.http_status == 200


TASK = {"task_id": "8334", "task_status": "submitted", "created_at": 1766737710125}
SHAPES: list[tuple[str, Any]] = [
    ("no code", {"data": TASK}),
    ("bare", TASK),
    ("bare with a message", {**TASK, "message": "SUCCEED"}),
    ("list of one", {"code": 0, "data": [TASK]}),
    ("nothing but a list of one", [TASK]),
    ("text", {"code": 0, "data": json.dumps(TASK)}),
    ("text in text", {"code": 0, "data": json.dumps({"data": json.dumps(TASK)})}),
    ("list in text", {"code": 200, "data": json.dumps([TASK])}),
    ("another name", {"code": 0, "result": TASK}),
    ("deeper", {"status": 200, "response": {"body": {"data": {"data": TASK}}}}),
    ("number", {"code": 0, "data": {"task_id": 8334}}),
    ("byte order mark", b"\xef\xbb\xbf" + json.dumps(native()).encode()),
    ("message in GBK", b'{"code":0,"message":"\xb3\xc9\xb9\xa6\\","data":{"task_id":"8334"}}'.replace(b"\\", b"")),
    ("message that ends in half a character", b'{"code":0,"message":"\xd5\x5c","data":{"task_id":"8334"}}'),
    ("latin-1", b'{"code":0,"message":"r\xe9ussi","data":{"task_id":"8334"}}'),
    ("line break in a text", b'{"code":0,"message":"a\nb","data":{"task_id":"8334"}}'),
    ("something behind it", json.dumps(native()).encode() + b"\n<!-- proxy -->"),
    ("UTF-16", json.dumps(native()).encode("utf-16")),
]


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("body", [body for _, body in SHAPES], ids=[name for name, _ in SHAPES])
def test_a_creation_in_any_shape(body: Any, status: int) -> None:
    assert read(body, status, asked=None).kling_task_id == "8334"


@pytest.mark.parametrize(
    "body", [{"code": 0, "data": [TASK, {**TASK, "task_id": "8335"}]}, [TASK, {**TASK, "task_id": "1"}]]
)
def test_a_list_of_several_is_no_creation(body: Any) -> None:
    with pytest.raises(KlingServerError):
        read(body, asked=None)
    assert read(body, asked="8334").kling_task_id == "8334"


@pytest.mark.parametrize("name", ["message", "task_info", "request", "detail"])
def test_a_task_that_is_only_mentioned_is_no_creation(name: str) -> None:
    for mention in (TASK, json.dumps(TASK)):
        with pytest.raises(KlingServerError) as caught:
            read({"code": 0, "data": {}, name: mention}, asked=None)
        assert not nothing_was_created(caught.value)


def test_success_code_beside_an_error_object_is_an_error() -> None:
    with pytest.raises(KlingAPIError, match="no money"):
        read({**native(), "error": {"message": "no money", "code": "insufficient_user_quota"}})


@pytest.mark.parametrize("status", [199, 300, 400, 500])
def test_success_body_with_a_status_that_is_none_is_an_error(status: int) -> None:
    with pytest.raises(KlingAPIError):
        read(native(), status=status)


def test_all_fields_of_a_native_answer() -> None:
    task = read(
        native(
            task_info={"external_task_id": "mine"},
            task_status="succeed",
            task_status_msg="",
            created_at=1766737710125,
            updated_at=1766737711775,
            final_unit_deduction="8",
            task_result={"images": [{"index": 0, "url": URL, "watermark_url": "w"}]},
        )
    )
    assert task.kling_task_id == "8334"
    assert task.external_task_id == "mine"
    assert task.status == "succeed"
    assert task.finished
    assert task.unit_deduction == "8"
    assert task.request_id == "r-1"
    assert task.created_at == datetime(2025, 12, 26, 8, 28, 30, 125000, tzinfo=UTC)
    assert task.updated_at == datetime(2025, 12, 26, 8, 28, 31, 775000, tzinfo=UTC)
    assert [(image.index, image.url) for image in task.results] == [(0, URL)]


def test_all_but_the_task_id_may_be_missing() -> None:
    task = read({"code": 0, "data": {"task_id": "8334"}}, asked=None)
    assert task == KlingTask(kling_task_id="8334", status="submitted")
    assert not task.finished
    assert task.request_id is None


@pytest.mark.parametrize("info", [None, {}, [], "", {"external_task_id": None}, {"external_task_id": ""}], ids=str)
def test_task_info_without_an_external_id(info: Any) -> None:
    assert read(native(task_info=info)).external_task_id is None


@pytest.mark.parametrize("ident", [8334, "8334"])
def test_numeric_ids_become_text(ident: Any) -> None:
    task = read(native(task_id=ident, task_info={"external_task_id": 7}, final_unit_deduction=8))
    assert (task.kling_task_id, task.external_task_id, task.unit_deduction) == ("8334", "7", "8")


def test_answer_to_a_query_may_leave_its_id_out() -> None:
    assert read({"code": 0, "data": {"task_status": "processing"}}, asked="8334").kling_task_id == "8334"


@pytest.mark.parametrize("data", [None, {}, [], "8334", 1, {"task_status": "submitted"}], ids=str)
def test_answer_to_a_create_without_an_id_leaves_open_whether_a_task_exists(data: Any) -> None:
    with pytest.raises(KlingServerError, match="without a task") as caught:
        read({"code": 0, "request_id": "r", "data": data}, asked=None)
    assert (caught.value.http_status, caught.value.code, caught.value.request_id) == (200, "0", "r")


STATUSES = [
    ("submitted", "submitted", False, True),
    ("processing", "processing", False, True),
    ("succeed", "succeed", False, True),  # its results are still to come
    ("succeeded", "succeed", False, True),
    ("failed", "failed", True, True),
    ("reviewing", "reviewing", False, False),
    ("", "submitted", False, True),
    (None, "submitted", False, True),
    (7, "submitted", False, True),
]


@pytest.mark.parametrize(("told", "status", "finished", "known"), STATUSES)
def test_native_status(told: Any, status: str, finished: bool, known: bool) -> None:
    task = read(native(task_status=told))
    assert (task.status, task.finished, task.status_known) == (status, finished, known)


OUTER = [
    ("NOT_START", "submitted"),
    ("SUBMITTED", "submitted"),
    ("QUEUED", "submitted"),
    ("IN_PROGRESS", "processing"),
    ("SUCCESS", "processing"),  # the images are still to come
    ("FAILURE", "failed"),
    ("UNKNOWN", "UNKNOWN"),
    ("SOMETHING_NEW", "SOMETHING_NEW"),
]


@pytest.mark.parametrize(("outer", "status"), OUTER)
def test_wrapped_status_alone(outer: str, status: str) -> None:
    task = read({"code": "success", "data": {"task_id": "8334", "status": outer, "progress": "100%"}})
    assert task.status == status
    assert task.finished is (status in ("succeed", "failed"))


IMAGES = {"images": [{"index": 0, "url": URL}]}
# outer status, native status, images there, what holds: of two that differ the terminal one is newer.
CONFLICTS = [
    ("IN_PROGRESS", "succeed", True, "succeed"),
    ("IN_PROGRESS", "failed", False, "failed"),
    ("UNKNOWN", "succeed", True, "succeed"),
    ("SUCCESS", "failed", False, "failed"),
    ("FAILURE", "succeed", True, "succeed"),
    ("FAILURE", "processing", False, "failed"),
    ("SUCCESS", "processing", True, "succeed"),
    ("SUCCESS", "processing", False, "processing"),
    ("QUEUED", "processing", False, "processing"),
    ("UNKNOWN", "processing", False, "processing"),
    ("IN_PROGRESS", "", False, "processing"),
    ("IN_PROGRESS", "reviewing", False, "reviewing"),
]


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize(("outer", "inner", "images", "status"), CONFLICTS)
def test_wrapped_and_native_status_differ(outer: str, inner: str, images: bool, status: str, depth: int) -> None:
    body = {"task_id": "8334", "task_status": inner, "task_result": IMAGES if images else {}}
    assert read(wrapped({"task_id": "8334", "status": outer}, body, depth)).status == status


@pytest.mark.parametrize("depth", [2, 3])
def test_wrapped_envelope_has_the_native_body_inside(depth: int) -> None:
    inner = {
        "task_id": "8334",
        "task_status": "succeed",
        "task_info": {"external_task_id": "mine"},
        "created_at": 1766737710125,
        "task_result": {"images": [{"index": 0, "url": URL}, {"index": 1, "url": URL}]},
        "final_unit_deduction": "16",
    }
    task = read(wrapped({"task_id": "outer", "status": "SUCCESS", "progress": "100%"}, inner, depth))
    assert task.kling_task_id == "8334"
    assert task.external_task_id == "mine"
    assert len(task.results) == 2
    assert task.unit_deduction == "16"
    assert task.created_at == datetime(2025, 12, 26, 8, 28, 30, 125000, tzinfo=UTC)


def test_id_of_the_wrapping_stands_in_for_a_missing_native_one() -> None:
    body = wrapped({"task_id": "8334", "status": "IN_PROGRESS"}, {"task_status": "processing"})
    assert read(body, asked=None).kling_task_id == "8334"


def test_reason_of_a_failure_in_the_wrapping() -> None:
    task = read(wrapped({"task_id": "8334", "status": "FAILURE", "fail_reason": "Image pixel is invalid"}, None))
    assert (task.status, task.status_message) == ("failed", "Image pixel is invalid")


def test_native_reason_goes_before_the_one_of_the_wrapping() -> None:
    inner = {"task_status": "failed", "task_status_msg": "native"}
    assert (
        read(wrapped({"task_id": "1", "status": "FAILURE", "fail_reason": "outer"}, inner)).status_message == "native"
    )


@pytest.mark.parametrize("inner", [None, [], {}, "text", 0], ids=str)
def test_wrapping_without_a_native_body(inner: Any) -> None:
    assert read(wrapped({"task_id": "8334", "status": "QUEUED"}, inner)).status == "submitted"


@pytest.mark.parametrize(
    ("images", "indexes"),
    [
        ([{"url": "a"}, {"url": "b"}], [0, 1]),
        ([{"index": 1, "url": "a"}, {"index": 0, "url": "b"}], [1, 0]),
        ([{"index": None, "url": "a"}, {"index": "x", "url": "b"}, {"index": -1, "url": "c"}], [0, 1, 2]),
        ([None, "text", {"url": "c"}], [2]),
        ([{"index": 1, "url": "a"}, {"url": "b"}], [0, 1]),
        ([{"index": 0, "url": "a"}, {"index": 0, "url": "b"}], [0, 1]),
        ([{"index": True, "url": "a"}, {"index": 3, "url": "b"}], [0, 1]),
        ([], []),
        (None, []),
        ({"0": "a"}, []),
    ],
)
def test_index_of_an_image(images: Any, indexes: list[int]) -> None:
    task = read(native(task_status="succeed", task_result={"images": images}))
    assert [image.index for image in task.results] == indexes


@pytest.mark.parametrize("result", [None, [], "", {}, {"images": None}], ids=str)
def test_result_without_images(result: Any) -> None:
    assert read(native(task_status="succeed", task_result=result)).results == ()


@pytest.mark.parametrize("moment", [None, "", "never", {}, [], 1e300, float("inf"), -1e18, True], ids=str)
def test_odd_timestamp_does_not_lose_a_paid_result(moment: Any) -> None:
    body = json.dumps(native(task_status="succeed", task_result=IMAGES, created_at=moment)).encode()
    task = protocol.read_task(httpx.Response(200, content=body), now=NOW, kling_task_id="8334")
    assert task.results[0].url == URL


FIELDS = ["data", "task_id", "task_status", "status", "task_result", "images", "index", "url", "task_info"]
FIELDS += ["external_task_id", "created_at", "fail_reason", "final_unit_deduction", "task_status_msg"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(
                st.sampled_from(FIELDS),
                children,
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_data_holds_the_answer_is_a_task_or_an_error_of_ours(data: Any) -> None:
    response = httpx.Response(200, content=json.dumps({"code": 0, "data": data}).encode())
    for asked in (None, "8334"):
        try:
            task = protocol.read_task(response, now=NOW, kling_task_id=asked)
        except KlingServerError:
            continue
        assert task.kling_task_id
        json.dumps(task.to_xcom(), allow_nan=False)


@pytest.mark.parametrize(
    "content", [b"", b"<html>hello</html>", b"\xff\xfe", b'{"code": 0', b"[]", b"null", b"[" * 10**5]
)
def test_page_in_place_of_json(content: bytes) -> None:
    with pytest.raises(KlingServerError):
        read(content)


def test_task_that_does_not_exist() -> None:
    with pytest.raises(KlingTaskNotFoundError) as caught:
        read({"code": "task_not_exist", "message": "task_not_exist", "data": None}, status=400)
    assert caught.value.kling_task_id == "8334"


def test_page_of_tasks() -> None:
    data = [{"task_id": "2", "task_status": "processing"}, {"task_id": "1", "task_status": "succeed"}, {}, None, "x"]
    tasks = protocol.read_page(answer({"code": 0, "data": data}), now=NOW)
    assert [(task.kling_task_id, task.status) for task in tasks] == [("2", "processing"), ("1", "succeed")]


@pytest.mark.parametrize("data", [None, {}, "x", ["x"], [{}, None], [{"task_status": "succeed"}]], ids=str)
def test_page_that_is_no_list_of_tasks(data: Any) -> None:
    with pytest.raises(KlingServerError):
        protocol.read_page(answer({"code": 0, "data": data}), now=NOW)


def test_statuses_of_a_page() -> None:
    data = [
        {"task_id": 2, "task_status": "processing", "created_at": 1766737710125},
        {"task_id": "1", "task_status": "succeeded", "created_at": "soon", "task_result": IMAGES},
        {"task_id": "9", "task_status": "succeed"},
        {"task_status": "processing"},
        {"task_id": "3"},
        {"task_id": "4", "task_status": None},
        {"task_id": "5", "task_status": 3},
        {"task_id": "6", "task_status": ""},
        {"task_id": "7", "task_status": "processing", "status": "SUCCESS"},
        {"task_id": "8", "status": "SUCCESS", "data": {"task_status": "succeed"}},
        None,
        "x",
    ]
    statuses = protocol.read_statuses(answer({"code": 0, "data": data}), now=NOW)
    assert [(one.kling_task_id, one.status, one.created_at) for one in statuses] == [
        ("2", "processing", 1766737710.125),
        ("1", "succeed", None),
    ]


def test_short_reading_of_a_plain_answer() -> None:
    body = native(task_status="succeed", created_at=1_800_000_000_500, task_result=IMAGES)
    assert protocol.read_status(answer(body).content) == ("8334", "succeed", 1_800_000_000.5, True)
    assert protocol.read_status(answer(wrapped({"status": "SUCCESS"}, {"task_status": "processing"})).content) is None


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1766737710125, 1766737710.125),
        (1766737710125.0, 1766737710.125),
        ("1766737710125", 1766737710.125),
        (10**400, None),
        (float("inf"), None),
        (float("nan"), None),
        ("9" * 400, None),
        ("soon", None),
        ([1], None),
        (None, None),
    ],
    ids=["int", "float", "text", "huge", "inf", "nan", "huge text", "words", "list", "null"],
)
def test_an_odd_moment_loses_no_status(given: Any, seconds: float | None) -> None:
    told = protocol.read_status(answer(native(task_status="processing", created_at=given)).content)
    assert told is not None
    assert told[:3] == ("8334", "processing", seconds)
    data = [{"task_id": "8334", "task_status": "processing", "created_at": given}]
    assert protocol.read_statuses(answer({"code": 0, "data": data}), now=NOW) == [told]


@pytest.mark.parametrize("data", [None, {}, "x"], ids=str)
def test_statuses_of_a_page_that_is_no_list(data: Any) -> None:
    with pytest.raises(KlingServerError):
        protocol.read_statuses(answer({"code": 0, "data": data}), now=NOW)


@pytest.mark.parametrize("name", GATEWAYS)
def test_query_goes_to_the_route_of_the_gateway(name: str) -> None:
    gateway = GATEWAYS[name]
    request = protocol.query_request(gateway, "https://host", ROUTE, "83/3 4?x=ä")
    assert request.method == "GET"
    assert str(request.url) == f"https://host{ROUTE.endpoint(gateway.name).path}/83%2F3%204%3Fx%3D%C3%A4"


def test_list_asks_for_a_page() -> None:
    request = protocol.list_request(OFFICIAL, "https://host", ROUTE, page=2, page_size=500)
    assert request.method == "GET"
    assert str(request.url) == "https://host/v1/images/multi-image2image?pageNum=2&pageSize=500"


def test_requests_hold_no_key() -> None:
    assert "authorization" not in protocol.query_request(COMETAPI, "https://host", ROUTE, "1").headers


NO_RESULTS: list[Any] = [
    None,
    {},
    "",
    [],
    {"images": None},
    {"images": []},
    {"images": [None]},
    {"images": [{"index": 0}]},
    {"images": [{"index": 0, "url": ""}]},
    {"images": [{"index": 0, "url": None}]},
    {"images": [{"index": 0, "url": " "}]},
    {"images": [{"index": 0, "url": URL}, {"index": 1, "url": ""}]},
    {"images": [{"index": 0, "url": URL}], "videos": [{"id": "v", "url": ""}]},
    {"images": [], "scenes": [{"url": ""}]},
    {"scenes": [{"name": "no url"}]},
    {"images": [], "note": "text"},
]
ALL_RESULTS: list[Any] = [
    {"images": [{"url": URL}]},
    {"videos": [{"id": "v", "url": URL, "duration": "5"}]},
    {"images": [], "videos": [{"url": URL}]},
    {"audios": [{"id": "a", "url_mp3": URL, "url_wav": URL}]},
    {"images": [{"url": URL}], "series_images": [{"url": URL}]},
    {"scenes": [{"url": URL}]},
    {"shots": [{"url_1": URL, "url_2": URL}]},
    {"images": [{"url": URL, "watermark_url": ""}]},
    json.dumps({"images": [{"url": URL}]}),
]


@pytest.mark.parametrize(
    ("result", "finished"), [*((one, False) for one in NO_RESULTS), *((one, True) for one in ALL_RESULTS)], ids=str
)
def test_a_success_is_finished_once_every_result_has_a_url(result: Any, finished: bool) -> None:
    body = native(task_status="succeed", task_result=result)
    assert read(body).finished is finished  # the short way too, see read()
    page = protocol.read_statuses(answer({"code": 0, "data": [body["data"]]}), now=NOW)
    assert [one.kling_task_id for one in page] == (["8334"] if finished else [])
    outer = {"task_id": "8334", "status": "SUCCESS"}
    assert read(wrapped(outer, {"task_status": "succeed", "task_result": result})).finished is finished


@pytest.mark.parametrize("result", NO_RESULTS, ids=str)
def test_a_failure_is_finished_without_results(result: Any) -> None:
    assert read(native(task_status="failed", task_result=result)).finished


@pytest.mark.parametrize("odd", ["a\nb", "a\r\n2027-01-01 ERROR forged", "x" * 5000, "\x1b[31m", "a\u2028b"])
def test_what_may_be_logged_is_one_short_line(odd: str) -> None:
    body = native(task_status=odd, task_info={"external_task_id": odd}, final_unit_deduction=odd)
    task = read({**body, "request_id": odd})
    texts = (task.status, task.request_id, task.external_task_id, task.unit_deduction)
    assert all(text is not None and text.isprintable() for text in texts)
    assert len(task.status) <= 100
    assert len(task.request_id or "") <= 100
    with pytest.raises(KlingAPIError) as caught:
        read({"code": odd, "request_id": odd, "message": odd, "data": None}, status=400)
    error = caught.value
    assert str(error).isprintable()
    assert len(str(error)) < 1200
    assert len(error.code or "") <= 100
    assert len(error.request_id or "") <= 100


@pytest.mark.parametrize("name", route_names())
def test_every_list_of_results_that_a_route_names_is_read(name: str) -> None:
    for listed in find_route(name).results:
        task = read({"code": 0, "data": {"task_id": "8334", "task_result": {listed: [{"index": 0, "url": URL}]}}})
        assert [(result.kind, result.url) for result in task.results] == [(protocol.LIST_KINDS[listed], URL)]
