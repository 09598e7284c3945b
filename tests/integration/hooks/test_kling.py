"""Airflow connections in every form become clients; the test of a connection is free and says what is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from asgiref.sync import async_to_sync

from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.api.transport import shared_ssl_context
from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingConnectionError,
    KlingInputError,
    KlingTaskNotFoundError,
)
from airflow_kling.hooks.kling import KlingHook
from tests.integration.proxy import forward_proxy

ENV = "AIRFLOW_CONN_KLING_DEFAULT"

# Filled in with the emulator's key, host, port and URL.
URIS = {
    "scheme as schema": "kling://:{key}@{host}:{port}/http?gateway=cometapi",
    "scheme in the host": "kling://:{key}@{quoted_url}/?gateway=cometapi",
    "scheme before the host": "kling://http://:{key}@{host}:{port}/?gateway=cometapi",
    "extra as JSON": "kling://:{key}@{host}:{port}/http?__extra__=%7B%22gateway%22%3A%20%22cometapi%22%7D",
    "no extra": "kling://:{key}@{host}:{port}/http",
}
JSON_FIELDS: dict[str, dict[str, Any]] = {
    "base URL": {"host": "{url}"},
    "base URL with a slash": {"host": "{url}/"},
    "host, port and schema": {"host": "{host}", "port": "{port}", "schema": "http"},
    "scheme in the host, port apart": {"host": "http://{host}", "port": "{port}"},
    "extra as text": {"host": "{url}", "extra": '{"gateway": "cometapi", "timeout": 5}'},
    "extra of a form left blank": {"host": "{url}", "extra": {"gateway": "", "timeout": None, "access_key": ""}},
    "key pasted with a line break": {"host": "{url}", "password": " {key}\n"},
}


def _filled(template: Any, emulator: Emulator) -> Any:
    parts = urlsplit(emulator.url)
    values = {
        "{key}": emulator.api_key,
        "{host}": parts.hostname,
        "{port}": str(parts.port),
        "{url}": emulator.url,
        "{quoted_url}": quote(emulator.url, safe=""),
    }
    for name, value in values.items():
        template = template.replace(name, value) if isinstance(template, str) else template
    return template


def forms() -> list[Any]:
    return [pytest.param(uri, id=name) for name, uri in URIS.items()] + [
        pytest.param(fields, id=name) for name, fields in JSON_FIELDS.items()
    ]


async def ask(kling_task_id: str, hook: KlingHook) -> None:
    async with await hook.get_async_conn() as client:
        await client.get(kling_task_id)


@pytest.mark.parametrize("form", forms())
def test_connection_forms(form: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(form, str):
        monkeypatch.setenv(ENV, _filled(form, emulator))
    else:
        fields = {"password": "{key}", **form}
        filled = {name: _filled(value, emulator) for name, value in fields.items()}
        filled |= {"port": int(filled["port"])} if "port" in filled else {}
        monkeypatch.setenv(ENV, json.dumps({"conn_type": "kling", **filled}))
    # "Not found" comes only from the right host, route and key.
    with pytest.raises(KlingTaskNotFoundError):
        KlingHook().get_task("8334")
    with pytest.raises(KlingTaskNotFoundError):
        asyncio.run(ask("8334", KlingHook()))
    assert emulator.ledger()["requests"]["query"] == 2


@pytest.mark.parametrize(
    "form", ["kling://:k@[::1]:8080/http", '{"conn_type": "kling", "password": "k", "host": "http://[::1]:8080"}']
)
def test_an_ipv6_host(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, form)
    assert KlingHook().settings.host == "http://[::1]:8080"


@pytest.mark.parametrize("extra", [{"proxy": "{url}"}, {"proxy": "environment"}, {}])
def test_calls_go_through_the_proxy_of_connection_or_environment(
    extra: dict[str, str], emulator: Emulator, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with forward_proxy(credentials="me:distinctive-password") as proxy:
        if extra.get("proxy") != "{url}":
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
        connect(emulator, extra={name: value.format(url=proxy.url) for name, value in extra.items()})
        with pytest.raises(KlingTaskNotFoundError):
            KlingHook().get_task("8334")
        with pytest.raises(KlingTaskNotFoundError):
            asyncio.run(ask("8334", KlingHook()))
        assert len(proxy.seen) == 2


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2", "official"])
def test_submit_and_get(gateway: str, emulator: Emulator, connect: Callable[..., str], subjects: list[str]) -> None:
    hook = KlingHook(connect(emulator, conn_id="team_kling", gateway=gateway))
    task = hook.submit({"subject_images": subjects, "scene_image": subjects[0]})
    assert hook.get_task(task.kling_task_id).status == "submitted"
    [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
    assert entry["gateway"] == gateway


def test_submit_takes_a_checked_request_as_well(kling: Emulator, subjects: list[str]) -> None:
    task = KlingHook().submit(MultiImageToImageRequest.parse({"subject_images": subjects}))
    assert task.kling_task_id == kling.ledger()["accounts"]["default"]["tasks"][0]["task_id"]


def test_pair_of_keys_works_in_both_clients(
    emulator: Emulator, connect: Callable[..., str], subjects: list[str]
) -> None:
    pair = {"access_key": emulator.access_key, "secret_key": emulator.secret_key}
    connect(emulator, gateway="official", password=None, extra=pair)
    task = KlingHook().submit({"subject_images": subjects})
    asyncio.run(ask(task.kling_task_id, KlingHook()))
    assert KlingHook().test_connection()[0]


def test_pollers_mint_one_token_and_mask_none(
    emulator: Emulator, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"access_key": emulator.access_key, "secret_key": "a-secret-of-more-than-32-characters"}
    connect(emulator, gateway="official", password=None, extra=pair)
    masked: list[str] = []
    monkeypatch.setattr("airflow_kling.hooks.kling.mask_secret", masked.append)
    signed: set[str] = set()

    async def one_wait_after_another() -> None:
        for _ in range(20):
            async with await KlingHook().get_async_conn() as client:
                signed.add(client._auth.authorization())

    asyncio.run(one_wait_after_another())
    assert len(signed) == 1
    assert set(masked) == set(pair.values())


def test_secrets_are_masked_by_way_of_the_triggerers_own_event_loop(
    emulator: Emulator, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 3.0 and 3.1 tell their supervisor through ``async_to_sync``: a second loop would take others' answers."""
    connect(emulator)
    loops: list[asyncio.AbstractEventLoop] = []

    async def ask_supervisor() -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr("airflow_kling.hooks.kling.mask_secret", lambda _: async_to_sync(ask_supervisor)())

    async def connect_in_triggerer() -> None:
        async with await KlingHook().get_async_conn():
            assert loops == [asyncio.get_running_loop()]

    asyncio.run(connect_in_triggerer())


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"password": None}, "has no API key: put it into the password field"),
    ({"password": ""}, "has no API key"),
    ({"gateway": "comet"}, "gateway 'comet' in its extra, which must be one of cometapi, cometapi-v2, official"),
    ({"host": "ftp://example.com"}, "which must be a base URL"),
    ({"extra": {"access_key": "a"}}, "only one of access_key and secret_key"),
    ({"extra": {"access_key": "a", "secret_key": "b"}}, "takes only an API key as password"),
    ({"extra": {"timeout": -1}}, "timeout: input should be greater than 0"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[words[:30] for _, words in WRONG])
def test_connection_that_cannot_work_is_one_sentence(
    fields: dict[str, Any], words: str, emulator: Emulator, connect: Callable[..., str], subjects: list[str]
) -> None:
    connect(emulator, **fields)
    for use in (
        lambda: KlingHook().submit({"subject_images": subjects}),
        lambda: KlingHook().get_task("8334"),
        lambda: asyncio.run(ask("8334", KlingHook())),
    ):
        with pytest.raises(KlingInputError, match="Connection 'kling_default'") as caught:
            use()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    ok, message = KlingHook().test_connection()
    assert not ok
    assert words in message
    assert sum(emulator.ledger()["requests"].values()) == 0


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2", "official"])
def test_good_connection_is_told_as_such(gateway: str, emulator: Emulator, connect: Callable[..., str]) -> None:
    connect(emulator, gateway=gateway)
    ok, message = KlingHook().test_connection()
    assert ok
    assert emulator.url in message
    assert emulator.ledger()["requests"] == {"create": 0, "query": 1, "list": 0, "image": 0}
    assert emulator.ledger()["totals"]["created"] == 0


def test_good_connection_without_a_host_names_the_gateways(
    emulator: Emulator, connect: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(emulator, host="")
    assert KlingHook().settings.client_options()["base_url"] is None
    with KlingHook().get_conn() as client:
        assert client.base_url == "https://api.cometapi.com"


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2", "official"])
def test_wrong_key(gateway: str, emulator: Emulator, connect: Callable[..., str]) -> None:
    connect(emulator, gateway=gateway, password="sk-a-wrong-key")
    ok, message = KlingHook().test_connection()
    assert not ok
    assert "check the password" in message
    assert "sk-a-wrong-key" not in message
    assert emulator.ledger()["requests"]["query"] == 1


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2", "official"])
def test_wrong_route(gateway: str, emulator: Emulator, connect: Callable[..., str]) -> None:
    connect(emulator, gateway=gateway, host=f"{emulator.url}/nothing/here")
    ok, message = KlingHook().test_connection()
    assert not ok
    assert "check the connection's host and gateway" in message


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"action": "html"}, "later"),
    ({"action": "html", "status": 200}, "not JSON"),
    ({"action": "redirect"}, "host and gateway"),
    ({"action": "error", "code": 1101}, "arrears"),
    ({"action": "error", "code": 1304}, "white list"),
    ({"action": "error", "code": 5001}, "maintenance"),
    ({"action": "drop"}, "No answer"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[str(fault) for fault, _ in FAULTS])
def test_test_connection_tells_what_is_wrong_at_once(fault: dict[str, Any], words: str, kling: Emulator) -> None:
    kling.faults.add(on="query", **fault)
    ok, message = KlingHook().test_connection()
    assert not ok
    assert words in message
    assert kling.ledger()["requests"]["query"] == 1


def test_refused_connection(emulator: Emulator, connect: Callable[..., str], closed_port: int) -> None:
    connect(emulator, host=f"http://127.0.0.1:{closed_port}")
    ok, message = KlingHook().test_connection()
    assert not ok
    assert f"http://127.0.0.1:{closed_port}" in message
    assert "was not sent" in message


def test_timeout_of_the_connection_is_used(emulator: Emulator, connect: Callable[..., str]) -> None:
    connect(emulator, extra={"timeout": 0.1})
    fault = emulator.faults.add(on="query", action="hold")
    ok, message = KlingHook().test_connection()
    emulator.faults.release(fault)
    assert not ok
    assert "ReadTimeout" in message


def test_get_task_is_repeated_and_its_errors_pass_unchanged(
    kling: Emulator, submitted: Callable[..., str], quick: None
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="error", code=5000, times=2)
    assert KlingHook().get_task(task_id).kling_task_id == task_id
    kling.faults.add(on="query", action="error", code=1000)
    with pytest.raises(KlingAuthenticationError):
        KlingHook().get_task(task_id)


def test_submit_is_not_repeated(kling: Emulator, subjects: list[str], quick: None) -> None:
    kling.faults.add(on="create", action="drop_after")
    with pytest.raises(KlingConnectionError):
        KlingHook().submit({"subject_images": subjects})
    assert kling.ledger()["requests"]["create"] == kling.ledger()["totals"]["created"] == 1


def test_submit_checks_before_it_sends(kling: Emulator, subjects: list[str]) -> None:
    with pytest.raises(KlingInputError, match="n is 10"):
        KlingHook().submit({"subject_images": subjects, "n": 10})
    with pytest.raises(KlingInputError, match="takes 2 to 4"):
        KlingHook().submit({"subject_images": subjects[:1]})
    assert kling.ledger()["requests"]["create"] == 0


def test_the_connection_is_looked_up_once(kling: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = KlingHook()
    assert hook.settings is hook.settings
    monkeypatch.delenv(ENV)
    assert hook.get_conn().base_url == kling.url


def test_tls_context_is_shared() -> None:
    assert shared_ssl_context() is shared_ssl_context()


def test_form_of_airflow_2_has_the_fields_of_the_provider_info() -> None:
    pytest.importorskip("flask_appbuilder", reason="only Airflow 2 draws the form with it")
    from wtforms import Form

    from airflow_kling.get_provider_info import CONNECTION_TYPE

    widgets = KlingHook.get_connection_form_widgets()
    assert list(widgets) == list(CONNECTION_TYPE["conn-fields"])
    form = type("ConnectionForm", (Form,), widgets)()
    types = {field.name: field.type for field in form}
    assert types == {
        "gateway": "StringField",
        "timeout": "IntegerField",
        "max_requests_per_second": "IntegerField",
        "access_key": "PasswordField",
        "secret_key": "PasswordField",
        "models": "StringField",
        "prices": "StringField",
        "max_units": "StringField",
        "refuses_duplicates": "StringField",
        "namespace": "StringField",
        "record_store": "StringField",
        "callback_base_url": "StringField",
        "callback_secret": "PasswordField",
        "webhook_secret": "PasswordField",
        "proxy": "StringField",
        "trusted_networks": "StringField",
        "allow_http": "BooleanField",
        "allow_private_hosts": "BooleanField",
    }
    assert form.gateway.default == "cometapi"
    assert form.gateway.validators[0].values == ["cometapi", "cometapi-v2", "official"]


def test_labels_of_airflow_2_are_those_of_the_provider_info() -> None:
    behaviour = KlingHook.get_ui_field_behaviour()
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
    assert behaviour["relabeling"] == {"host": "Base URL", "password": "API key"}
