"""Which requests an emulator answers: those of clients, and none that a page of another site sends."""

from __future__ import annotations

import httpx
import pytest

from airflow_kling.emulator import EmulatorConfig, serve
from airflow_kling.emulator.__main__ import parser
from airflow_kling.emulator.callers import refusal

RESET = "/_emulator/reset"


def ask(host: str, method: str = "GET", path: str = "/v1/x", *, bound: str = "127.0.0.1", allowed=(), **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(method, path, {"host": host, **named}, bound=bound, allowed=allowed)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8899", "localhost", "LOCALHOST:1", "[::1]:8899", "127.9.9.9", "kling.localhost:80", "localhost."],
)
def test_names_of_this_machine(host: str) -> None:
    assert ask(host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8899", "localhost.evil.example", "10.0.0.7", "", "a@localhost.x", "[::1", ":1"],
)
def test_other_names_are_refused(host: str) -> None:
    assert "--allowed-host" in str(ask(host))


def test_further_names() -> None:
    assert ask("emulator:8899") is not None
    assert ask("emulator:8899", allowed=("Emulator",)) is None
    assert ask("kling.test", bound="kling.test") is None


def test_on_all_interfaces_an_address_is_one_of_the_machine() -> None:
    for bound in ("0.0.0.0", "::"):
        assert ask("10.0.0.7:8899", bound=bound) is None
        assert ask("evil.example", bound=bound) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_page_of_another_site_may_not_control_it(method: str, headers: dict[str, str]) -> None:
    assert "another site" in str(ask("localhost:8899", method, RESET, **headers))


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost:8899"}, {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}]
)
def test_clients_and_its_own_pages_may(headers: dict[str, str]) -> None:
    assert ask("localhost:8899", "POST", RESET, **headers) is None


def test_over_http(emulator, http) -> None:
    rebound = httpx.get(f"{emulator.url}/_emulator/health", headers={"Host": "evil.example"}, trust_env=False)
    assert (rebound.status_code, "--allowed-host evil.example" in rebound.json()["error"]) == (403, True)
    forged = httpx.post(f"{emulator.url}{RESET}", headers={"Origin": "https://evil.example"}, trust_env=False)
    assert forged.status_code == 403
    assert http.post(RESET).status_code == 200


def test_names_of_the_settings() -> None:
    assert parser().parse_args(["--allowed-host", "a", "--allowed-host", "b"]).allowed_hosts == ["a", "b"]
    with serve(EmulatorConfig(allowed_hosts=("emulator",), public_url="http://kling.test:99")) as emulator:
        for host, status in (("emulator:8899", 200), ("kling.test", 200), ("other", 403)):
            answer = httpx.get(f"{emulator.url}/_emulator/health", headers={"Host": host}, trust_env=False)
            assert answer.status_code == status
