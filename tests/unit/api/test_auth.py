"""How calls are signed, when a token is renewed, and that no repr shows a secret."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import httpx
import jwt
import pytest

from airflow_kling.api.auth import BearerAuth, JWTAuth, KlingAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.exceptions import KlingAPIError, KlingAuthenticationError

ACCESS, SECRET = "an-access-key", "a-secret-key-of-more-than-32-characters"
SUCCESS = {"code": 0, "data": {"task_id": "8334"}}
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers what it is told to, and keeps the tokens it has seen."""

    def __init__(self, *answers: tuple[int, object], date: Callable[[], float] | None = None) -> None:
        self.answers = list(answers)
        self.date = date
        self.tokens: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        status, body = self.answers.pop(0) if self.answers else (200, SUCCESS)
        headers = {"Date": formatdate(self.date(), usegmt=True)} if self.date else {}
        return httpx.Response(
            status, headers=headers, **({"json": body} if not isinstance(body, str) else {"text": body})
        )


class Strict(Server):
    """Refuses tokens that are out of time by its own clock, as the official API does."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert self.date
        given = claims(request.headers["Authorization"].removeprefix("Bearer "))
        now = self.date()
        if now < float(str(given["nbf"])):
            self.answers = [(401, {"code": 1003})]
        elif now > float(str(given["exp"])):
            self.answers = [(401, {"code": 1004})]
        return super().__call__(request)


def client(auth: KlingAuth, server: Server) -> KlingClient:
    made = KlingClient(auth, sleep=pytest.fail)
    made._transport._http = httpx.Client(transport=httpx.MockTransport(server))
    return made


def claims(token: str) -> dict[str, object]:
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False})


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_bearer() -> None:
    server = Server()
    client(BearerAuth("sk-key"), server).get("8334")
    assert server.tokens == ["sk-key"]


def test_claims_and_header(clock: Clock) -> None:
    server = Server()
    client(JWTAuth(ACCESS, SECRET, clock=clock), server).get("8334")
    assert claims(server.tokens[0]) == {"iss": ACCESS, "exp": START + 1800, "nbf": START - 5}
    assert jwt.get_unverified_header(server.tokens[0]) == {"alg": "HS256", "typ": "JWT"}


def test_token_is_kept_until_shortly_before_its_end(clock: Clock) -> None:
    server = Server()
    http = client(JWTAuth(ACCESS, SECRET, clock=clock), server)
    for seconds in (0, 1, 1700, 1739, 1741, 1742):
        clock.now = START + seconds
        http.get("8334")
    assert len(set(server.tokens[:4])) == 1
    assert len(set(server.tokens[4:])) == 1
    assert server.tokens[3] != server.tokens[4]
    assert claims(server.tokens[4])["exp"] == START + 1741 + 1800


def test_no_token_is_ever_sent_after_its_end(clock: Clock) -> None:
    server = Server()
    http = client(JWTAuth(ACCESS, SECRET, clock=clock), server)
    for step in range(0, 10_000, 97):
        clock.now = START + step
        http.get("8334")
        assert claims(server.tokens[-1])["exp"] > clock.now


@pytest.mark.parametrize("code", [1003, 1004, "1003", "1004"])
def test_token_out_of_time_is_signed_anew_once(clock: Clock, code: object) -> None:
    server = Server((401, {"code": code}))
    http = client(JWTAuth(ACCESS, SECRET, clock=clock), server)
    clock.now += 10
    assert http.get("8334").kling_task_id == "8334"
    assert len(server.tokens) == 2
    assert claims(server.tokens[1])["nbf"] == START + 5


def test_second_refusal_of_a_token_is_final(clock: Clock) -> None:
    server = Server((401, {"code": 1004}), (401, {"code": 1004}), (200, SUCCESS))
    with pytest.raises(KlingAuthenticationError):
        client(JWTAuth(ACCESS, SECRET, clock=clock), server).get("8334")
    assert len(server.tokens) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"code": 1000}),
        (401, {"code": 1002}),
        (401, "<html>"),
        (401, []),
        (401, "[" * 10**5),
        (429, {"code": 1003}),
    ],
    ids=["1000", "1002", "page", "list", "nested", "429"],
)
def test_other_refusals_are_not_sent_again(clock: Clock, status: int, body: object) -> None:
    server = Server((status, body))
    with pytest.raises(KlingAPIError) as caught:
        client(JWTAuth(ACCESS, SECRET, clock=clock), server).get("8334", deadline=0)
    assert caught.value.http_status == status
    assert len(server.tokens) == 1


def test_each_token_is_told_so_that_it_can_be_masked(clock: Clock) -> None:
    told: list[str] = []
    server = Server((401, {"code": 1004}))
    http = client(JWTAuth(ACCESS, SECRET, clock=clock, on_token=told.append), server)
    http.get("8334")
    clock.now += 1800
    http.get("8334")
    assert set(told) == set(server.tokens)
    assert len(set(told)) == 2


@pytest.mark.parametrize("show", [repr, str])
def test_secrets_are_not_shown(show: object, clock: Clock) -> None:
    told: list[str] = []
    auth = JWTAuth(ACCESS, SECRET, clock=clock, on_token=told.append)
    http = client(auth, Server())
    http.get("8334")
    assert callable(show)
    shown = "".join(show(item) for item in (auth, BearerAuth("sk-key"), http))
    assert not any(secret in shown for secret in (ACCESS, SECRET, "sk-key", *told))


@pytest.mark.parametrize("skew", [-86_400, -3600, -60, 0, 60, 3600, 86_400])
def test_a_clock_that_is_off_costs_one_more_request_and_no_more(skew: float, clock: Clock) -> None:
    server = Strict(date=lambda: clock.now - skew)
    http = client(JWTAuth(ACCESS, SECRET, clock=clock), server)
    for seconds in (0, 10, 3600, 7200):
        clock.now = START + seconds
        assert http.get("8334").kling_task_id == "8334"
    assert len(server.tokens) <= 5


def test_a_date_that_is_wrong_does_not_keep_the_clock_off(clock: Clock) -> None:
    server = Server((401, {"code": 1004}), (401, {"code": 1003}), (401, {"code": 1003}), date=lambda: clock.now + 9999)
    http = client(JWTAuth(ACCESS, SECRET, clock=clock), server)
    with pytest.raises(KlingAuthenticationError):
        http.get("8334")
    assert http.get("8334").kling_task_id == "8334"
    assert claims(server.tokens[-1])["nbf"] == START - 5
