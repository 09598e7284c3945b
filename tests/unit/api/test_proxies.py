"""Which proxy a URL goes through."""

from __future__ import annotations

import pytest

from airflow_kling.api.proxies import Proxy, is_excepted, proxy_for
from airflow_kling.exceptions import KlingInputError

SECRET = "distinctive-password"


@pytest.mark.parametrize(
    ("text", "url", "credentials"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128", None),
        ("http://proxy.test:3128/", "http://proxy.test:3128", None),
        ("HTTP://Proxy.Test:3128", "http://proxy.test:3128", None),
        ("https://proxy.test", "https://proxy.test", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://me:secret@proxy.test:3128", "http://proxy.test:3128", "Basic bWU6c2VjcmV0"),
        ("http://me:se%40cret@proxy.test:3128", "http://proxy.test:3128", "Basic bWU6c2VAY3JldA=="),
        ("http://me@proxy.test:3128", "http://proxy.test:3128", "Basic bWU6"),
    ],
)
def test_proxies(text, url, credentials):
    proxy = Proxy.parse(text)
    assert (proxy.url, proxy.authorization) == (url, credentials)
    assert proxy.headers == ({"Proxy-Authorization": credentials} if credentials else {})
    assert str(proxy) == url.partition("://")[2]
    assert "secret" not in repr(proxy)
    assert "Basic" not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    [
        *("", "proxy.test", "proxy.test:3128", f"me:{SECRET}@proxy.test:3128", "http://", "http://:3128", "/a"),
        *("ftp://proxy.test", f"http://me:{SECRET}#x@proxy.test", f"http://me:1/{SECRET}@proxy.test:1"),
        *("http://proxy.test/path", "http://proxy.test?a=b", "http://proxy.test:99999", "http://proxy.test:port"),
        *("http://[::1", "http://pro xy", "environment"),
    ],
)
def test_what_is_no_proxy(text):
    with pytest.raises(ValueError, match="is not http://host:port") as caught:
        Proxy.parse(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks", "socks4", "socks5", "socks5h", "SOCKS5"])
def test_socks_is_refused_as_such(scheme):
    with pytest.raises(ValueError, match="SOCKS") as caught:
        Proxy.parse(f"{scheme}://me:{SECRET}@proxy.test")
    assert SECRET not in str(caught.value)


A, B, C = "http://a.test:1", "http://b.test:2", "http://c.test:3"


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": A}, None, A),
        ({"https_proxy": A}, None, A),
        ({"https_proxy": A, "HTTPS_PROXY": B}, None, A),
        ({"https_proxy": "", "HTTPS_PROXY": B}, None, None),
        ({"https_proxy": "", "HTTPS_PROXY": B, "ALL_PROXY": C}, C, C),
        ({"HTTP_PROXY": A, "HTTPS_PROXY": B, "ALL_PROXY": C}, A, B),
        ({"HTTP_PROXY": A, "all_proxy": C}, A, C),
        ({"HTTP_PROXY": A, "HTTPS_PROXY": " "}, A, None),
        ({"HTTPS_PROXY": f" {A}\n"}, None, A),
        ({"HTTPS_PROXY": "a.test:1"}, None, A),
        ({"HTTP_PROXY": A, "HTTPS_PROXY": B, "REQUEST_METHOD": "GET"}, None, B),  # a CGI script: its client said so
        ({"http_proxy": A, "REQUEST_METHOD": "GET"}, A, None),
        ({"ALL_PROXY": A, "NO_PROXY": "kling.test"}, None, None),
        ({"ALL_PROXY": A, "no_proxy": "kling.test"}, None, None),
        ({"ALL_PROXY": A, "no_proxy": "", "NO_PROXY": "kling.test"}, A, A),
        ({"ALL_PROXY": A, "NO_PROXY": "kling.test:443"}, A, None),
        ({"ALL_PROXY": "socks5://a.test", "HTTPS_PROXY": A, "HTTP_PROXY": A}, A, A),
        ({"ALL_PROXY": "socks5://a.test", "NO_PROXY": "*"}, None, None),
        ({"FTP_PROXY": A, "TRAVIS_APT_PROXY": A}, None, None),
    ],
)
def test_the_proxy_of_the_environment(environ, http, https):
    found = [proxy_for(f"{scheme}://kling.test/a", environ) for scheme in ("http", "https")]
    assert [proxy and proxy.url for proxy in found] == [http, https]


def test_a_proxy_of_the_environment_that_cannot_be_used():
    with pytest.raises(KlingInputError) as caught:
        proxy_for("https://kling.test", {"all_proxy": f"socks5://me:{SECRET}@a.test"})
    assert str(caught.value) == (
        "The environment variable all_proxy is a SOCKS proxy, and only http and https proxies are supported; "
        "nothing was sent."
    )


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "https://kling.test"),
        ("a.test, *", "https://kling.test"),
        ("kling.test", "https://kling.test"),
        ("KLING.Test", "https://kling.test"),
        ("kling.test", "https://KLING.TEST."),
        ("kling.test.", "https://kling.test"),
        ("kling.test", "https://api.kling.test"),
        (".kling.test", "https://api.kling.test"),
        (".kling.test", "https://kling.test"),
        ("*.kling.test", "https://api.kling.test"),
        ("  a.test , kling.test ", "https://kling.test"),
        ("a.test kling.test", "https://kling.test"),
        ("a.test,,kling.test,", "https://kling.test"),
        ("kling.test:443", "https://kling.test"),
        ("kling.test:80", "http://kling.test"),
        ("kling.test:8443", "https://kling.test:8443"),
        (".kling.test:8443", "https://api.kling.test:8443"),
        ("https://kling.test", "https://kling.test"),
        ("all://kling.test:8443", "https://kling.test:8443"),
        ("127.0.0.1", "http://127.0.0.1:8899"),
        ("127.0.0.1:8899", "http://127.0.0.1:8899"),
        ("127.0.0.0/8", "http://127.0.0.1:8899"),
        ("127.0.0.1/8", "http://127.1.1.1"),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]"),
        ("127.0.0.1", "http://127.1"),
        ("::1", "http://[::1]:8899"),
        ("[::1]", "http://[::1]:8899"),
        ("[::1]:8899", "http://[::1]:8899"),
        ("0:0:0:0:0:0:0:1", "http://[::1]"),
        ("fd00::/8", "http://[fd12::1]"),
        ("[fd00::]/8", "http://[fd12::1]"),
        ("bücher.test", "https://xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "https://bücher.test"),
    ],
)
def test_excepted(no_proxy, url):
    assert is_excepted(url, no_proxy)


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "https://kling.test"),
        (" , ", "https://kling.test"),
        (".", "https://kling.test"),
        ("ling.test", "https://kling.test"),
        ("api.kling.test", "https://kling.test"),
        ("kling.test:444", "https://kling.test"),
        ("kling.test:8443", "https://kling.test"),
        ("http://kling.test", "https://kling.test"),
        ("127.0.0.1:8899", "http://127.0.0.1:8898"),
        ("[::1]:8899", "http://[::1]:8898"),
        ("[::1]", "http://[::2]"),
        ("1", "http://127.0.0.1"),
        ("0.0.1", "http://127.0.0.1"),
        ("10.0.0.0/8", "http://11.0.0.1"),
        ("10.0.0.0/8", "http://[fd12::1]"),
        ("10.0.0.0/8", "http://ten.test"),
        ("10.0.0.0/99", "http://10.0.0.1"),
        ("fd00::/8", "http://10.0.0.1"),
        ("a/b", "http://10.0.0.1"),
        ("localhost", "http://127.0.0.1"),
        ("\x00é::", "http://127.0.0.1"),
    ],
)
def test_not_excepted(no_proxy, url):
    assert not is_excepted(url, no_proxy)
