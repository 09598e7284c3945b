"""A connection's fields become checked settings; what is wrong is said in one sentence that shows no secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.auth import BearerAuth, JWTAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.connection import Settings
from airflow_kling.exceptions import KlingInputError

KEY, ACCESS, SECRET = "sk-distinctive-key", "distinctive-access", "distinctive-secret-0123456789abcdef"


def parse(extra: dict[str, Any] | None = None, **fields: Any) -> Settings:
    given_fields: dict[str, Any] = {"host": None, "port": None, "schema": None, "password": KEY, **fields}
    return Settings.parse(conn_id="my_kling", extra=extra or {}, **given_fields)


def refusal(extra: dict[str, Any] | None = None, **fields: Any) -> str:
    with pytest.raises(KlingInputError) as caught:
        parse(extra, **fields)
    text = str(caught.value)
    assert "'my_kling'" in text
    assert text.endswith("; nothing was sent.")
    assert "\n" not in text
    assert not any(secret in text for secret in (KEY, ACCESS, SECRET))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


def test_defaults() -> None:
    settings = parse()
    assert (settings.host, settings.gateway, settings.timeout, settings.allow_private_hosts) == (
        "",
        "cometapi",
        60,
        False,
    )
    assert settings.api.base_url == "https://api.cometapi.com"


@pytest.mark.parametrize(
    ("host", "port", "schema", "url"),
    [
        (None, None, None, ""),
        ("", 8899, None, ""),
        ("  ", None, None, ""),
        ("https://proxy.example.com", None, None, "https://proxy.example.com"),
        ("https://proxy.example.com/", None, None, "https://proxy.example.com"),
        (" https://proxy.example.com\n", None, None, "https://proxy.example.com"),
        ("https://proxy.example.com/kling/", None, None, "https://proxy.example.com/kling"),
        ("http://127.0.0.1:8899", None, None, "http://127.0.0.1:8899"),
        ("http://127.0.0.1:8899", 9000, None, "http://127.0.0.1:8899"),
        ("http://127.0.0.1", 8899, None, "http://127.0.0.1:8899"),
        ("127.0.0.1", 8899, "http", "http://127.0.0.1:8899"),
        ("proxy.example.com", None, None, "https://proxy.example.com"),
        ("proxy.example.com", None, "https", "https://proxy.example.com"),
        ("proxy.example.com:8443", None, "", "https://proxy.example.com:8443"),
        ("[::1]:8899", None, "http", "http://[::1]:8899"),
        ("::1", 8899, "http", "http://[::1]:8899"),  # what Airflow makes of kling://:key@[::1]:8899/http
        ("[::1]", 8899, "http", "http://[::1]:8899"),
        ("http://[::1]", 8899, None, "http://[::1]:8899"),
        ("::1", None, "http", "http://[::1]"),
        ("2001:db8:0:0::1", None, None, "https://[2001:db8::1]"),
    ],
)
def test_host_with_and_without_scheme_and_port(host: str, port: int | None, schema: str | None, url: str) -> None:
    assert parse(host=host, port=port, schema=schema).host == url


@pytest.mark.parametrize("port", [None, 80])
@pytest.mark.parametrize(
    "host",
    [
        "ftp://proxy.example.com",
        "http:///path",
        "http://[::1",
        "http://proxy:port",
        "http://proxy:99999",
        "http://pro xy",
        "https://proxy/?a=b",
        "https://proxy/#a",
        "http://[fe80::1%eth0]",
        "http://[fe80::1%25eth0]",
        "fe80::1%eth0",
        "http://::1:8899",
        "https://proxy\\.example.com",
        "https://\u00e9..b",
        "https://\x08",
    ],
)
def test_host_that_is_no_base_url(host: str, port: int | None) -> None:
    assert "https://api.cometapi.com" in refusal(host=host, port=port)


@pytest.mark.parametrize(
    "host",
    ["http://api.example.com", "HTTP://api.example.com", "http://8.8.8.8:80", "http://134744072", "http://[2606::1]"],
)
def test_plain_http_on_a_public_host_needs_a_switch(host: str) -> None:
    said = refusal(host=host)
    assert "where plain http shows the key to everybody in between: write https, or set allow_http in the extra" in said
    assert "plain http" in refusal({"allow_private_hosts": True}, host=host)
    assert parse({"allow_http": "true"}, host=host).host == host


@pytest.mark.parametrize("host", ["emulator:8899", "127.0.0.1", "10.0.0.1", "::1", "kling.default.svc.cluster.local"])
def test_plain_http_within_a_network_needs_none(host: str) -> None:
    assert parse(host=host, schema="http").host.startswith("http://")


def test_host_with_credentials_is_refused_without_showing_them() -> None:
    assert "base URL" in refusal(host=f"https://user:{SECRET}@proxy.example.com")


@given(st.text(max_size=40))
def test_any_host_gives_usable_settings_or_an_error_of_ours(host: str) -> None:
    try:
        settings = parse(host=host)
    except KlingInputError:
        return
    with KlingClient(settings.auth(), **settings.client_options()) as client:
        assert client.base_url.startswith(("http://", "https://"))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"gateway": "comet"}, "gateway 'comet' in its extra, which must be one of cometapi, cometapi-v2, official"),
    ({"gateway": 5}, "gateway: input should be a valid string"),
    ({"timeout": "soon"}, "timeout: input should be a valid number"),
    ({"timeout": 0}, "timeout: input should be greater than 0"),
    ({"timeout": -1}, "timeout: input should be greater than 0"),
    ({"timeout": "inf"}, "timeout: input should be a finite number"),
    ({"timeout": "nan"}, "timeout"),
    ({"max_units": 0}, "max_units: input should be greater than 0"),
    ({"max_units": "many"}, "max_units: input should be a valid number"),
    ({"prices": "8 units"}, "is not usable: prices is no JSON ("),
    (
        {"prices": {"image-to-video": {"V9": -1}}},
        "prices has -1 for image-to-video, V9, which must be a number of units",
    ),
    ({"allow_private_hosts": "perhaps"}, "allow_private_hosts: input should be a valid boolean"),
    ({"proxy": "proxy.test:3128"}, "proxy that is not http://host:port or https://host:port"),
    ({"proxy": f"http://me:{SECRET}@"}, "proxy that is not http://host:port or https://host:port"),
    ({"proxy": f"me:{SECRET}@proxy.test:3128"}, "or write environment"),
    ({"proxy": f"socks5://me:{SECRET}@proxy.test"}, "proxy that is a SOCKS proxy, and only http and https proxies"),
    ({"gateway": "official", "access_key": ACCESS}, "only one of access_key and secret_key"),
    ({"gateway": "official", "secret_key": SECRET}, "only one of access_key and secret_key"),
    ({"access_key": ACCESS, "secret_key": SECRET}, "gateway 'cometapi' takes only an API key"),
    ({"gateway": "official", "access_key": ["a"], "secret_key": SECRET}, "access_key: input should be a valid string"),
]


@pytest.mark.parametrize(("extra", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_extra(extra: dict[str, Any], words: str) -> None:
    assert words in refusal(extra)


@pytest.mark.parametrize("password", [None, "", "   ", "\n"])
def test_missing_key(password: str | None) -> None:
    assert "has no API key: put it into the password field" in refusal(password=password)


@pytest.mark.parametrize("password", [f"{KEY}\n", f" {KEY} ", f"\t{KEY}\r\n"])
def test_spaces_around_a_pasted_key_do_not_matter(password: str) -> None:
    assert parse(password=password).api_key.get_secret_value() == KEY


@pytest.mark.parametrize("odd", ["\n", "\r", " ", "\x00", "é", "\u200b"])
def test_key_that_no_header_can_carry_is_refused_before_http_would_show_it(odd: str) -> None:
    assert "copy it again" in refusal(password=f"{KEY}{odd}{KEY}")


def test_blank_form_fields_count_as_not_given() -> None:
    blank = dict.fromkeys(["gateway", "access_key", "secret_key", "timeout", "allow_private_hosts"])
    assert parse(blank) == parse({name: "" for name in blank}) == parse()


def test_unknown_extra_fields_are_left_alone() -> None:
    assert parse({"__note": "of the team"}) == parse()


def test_extra_cannot_override_host_or_key() -> None:
    settings = parse({"host": "http://elsewhere", "api_key": "other"}, host="https://proxy.example.com")
    assert settings.host == "https://proxy.example.com"
    assert settings.api_key.get_secret_value() == KEY


@pytest.mark.parametrize(("text", "value"), [("true", True), (True, True), ("false", False), (0, False)])
def test_booleans_of_forms_and_uris(text: Any, value: bool) -> None:
    assert parse({"allow_private_hosts": text}).allow_private_hosts is value


def test_key_signs_as_bearer_and_pair_as_jwt() -> None:
    assert isinstance(parse({"gateway": "official"}).auth(), BearerAuth)
    assert isinstance(parse({"gateway": "official", "access_key": ACCESS, "secret_key": SECRET}).auth(), JWTAuth)


def test_a_pair_of_keys_has_one_token_however_often_a_client_is_made() -> None:
    pair = {"access_key": ACCESS, "secret_key": SECRET}
    told: list[str] = []
    tell = told.append
    sent = {parse({**pair, "gateway": "official"}).auth(on_token=tell).authorization() for _ in range(50)}
    assert sent == {f"Bearer {token}" for token in told}
    assert len(told) == 1
    other = parse({**pair, "access_key": "another", "gateway": "official"}).auth(on_token=tell)
    assert other.authorization() not in sent


def test_pair_needs_no_password() -> None:
    pair = {"gateway": "official", "access_key": ACCESS, "secret_key": SECRET}
    assert isinstance(parse(pair, password=None).auth(), JWTAuth)


@pytest.mark.parametrize("proxy", [None, "", "environment", " Environment "])
def test_a_client_finds_the_proxy_of_the_environment_unless_the_connection_names_one(proxy: str | None) -> None:
    assert parse({"proxy": proxy}).client_options()["proxy"] is None
    named = parse({"proxy": "http://me:secret@proxy.test:3128"}).client_options()["proxy"]
    assert named.url == "http://proxy.test:3128"


def test_secrets() -> None:
    proxy = f"http://me:{SECRET}%40@proxy.test:3128"
    found = parse({"proxy": proxy, "callback_secret": "callback"}).secrets()
    assert found == [KEY, "callback", proxy, f"{SECRET}%40", f"{SECRET}@"]
    assert parse({"proxy": f"http://{SECRET}@proxy.test"}).secrets() == [KEY, f"http://{SECRET}@proxy.test", SECRET]
    assert parse({"proxy": "http://proxy.test:3128"}).secrets() == parse({"proxy": "environment"}).secrets() == [KEY]


def test_client_options() -> None:
    options = parse({"gateway": "cometapi-v2", "timeout": "2.5"}, host="http://h:1").client_options()
    assert (options["gateway"].name, options["base_url"], options["timeout"]) == ("cometapi-v2", "http://h:1", 2.5)


@pytest.mark.parametrize("show", [repr, str, lambda s: s.model_dump_json(), lambda s: f"{s.model_dump()}"])
def test_secrets_are_not_shown(show: Any) -> None:
    proxy = "http://me:distinctive-password@proxy.test"
    shown = show(parse({"gateway": "official", "access_key": ACCESS, "secret_key": SECRET, "proxy": proxy}))
    assert not any(secret in shown for secret in (KEY, ACCESS, SECRET, "distinctive-password"))


@pytest.mark.parametrize(
    ("given", "models"),
    [
        (None, {}),
        ("", {}),
        ("kling-v2-1, kling-v2", {"*": ("kling-v2-1", "kling-v2")}),
        (["kling-v2-1"], {"*": ("kling-v2-1",)}),
        ({"multi-image-to-image": "kling-v2-1"}, {"multi-image-to-image": ("kling-v2-1",)}),
    ],
    ids=str,
)
def test_models(given: Any, models: dict[str, tuple[str, ...]]) -> None:
    assert parse(extra={"models": given}).api.models == models


@pytest.mark.parametrize(
    ("given", "refuses"),
    [(None, True), ("", True), (True, True), (False, False), ("no", False), ("yes", True)],
    ids=str,
)
def test_refuses_duplicates(given: Any, refuses: bool) -> None:
    assert parse(extra={"refuses_duplicates": given}).api.refuses_duplicates is refuses


def test_trusted_networks() -> None:
    networks = parse(extra={"trusted_networks": "198.18.0.0/15, fd00:1::/32"}).trusted_networks
    assert [str(network) for network in networks] == ["198.18.0.0/15", "fd00:1::/32"]
    with pytest.raises(KlingInputError, match="trusted_networks"):
        parse(extra={"trusted_networks": "198.18.0.1/15"})


CALLBACKS = {"callback_base_url": "https://h.example/x", "record_store": "s3://bucket/records"}


def test_callback_urls() -> None:
    assert parse().callback_url("job-7") is None
    made = parse(CALLBACKS).callback_url("job-7")
    assert made is not None
    assert made.startswith("https://h.example/x/job-7/")
    assert parse({**CALLBACKS, "callback_secret": "another"}).callback_url("job-7") != made


def test_what_signs_callback_urls() -> None:
    pair = {"gateway": "official", "access_key": ACCESS, "secret_key": SECRET}
    assert parse().signing_secret == KEY
    assert parse(pair, password=None).signing_secret == SECRET
    assert parse({**pair, "callback_secret": " mine\n"}).signing_secret == "mine"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"callback_base_url": "https://h.example"}, "has a callback_base_url but no record_store"),
        ({**CALLBACKS, "callback_base_url": "h.example"}, "which must be a URL such as"),
        ({**CALLBACKS, "callback_base_url": f"https://u:{SECRET}@h.example"}, "which must be a URL such as"),
        ({**CALLBACKS, "callback_base_url": f"https://h.example/?token={SECRET}"}, "which must be a URL such as"),
    ],
)
def test_a_receiver_that_cannot_work(extra: dict[str, Any], words: str) -> None:
    assert words in refusal(extra)


def test_secrets_of_callbacks_are_not_shown() -> None:
    settings = parse({**CALLBACKS, "callback_secret": SECRET, "webhook_secret": SECRET})
    assert SECRET not in repr(settings) + settings.model_dump_json() + repr(settings.callback_url)


@pytest.mark.parametrize("given", ['{"image-expansion": {"*": 5}}', {"image-expansion": {"*": 5}}], ids=str)
def test_prices_as_json_and_as_its_text(given: Any) -> None:
    assert parse(extra={"prices": given}).prices == {"image-expansion": {"*": 5.0}}


@pytest.mark.parametrize(("given", "limit"), [(None, None), ("", None), (" 12.5 ", 12.5), (3, 3.0)], ids=str)
def test_max_units(given: Any, limit: float | None) -> None:
    assert parse(extra={"max_units": given}).max_units == limit
