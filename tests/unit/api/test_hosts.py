"""What a host is by its text alone."""

from __future__ import annotations

import pytest

from airflow_kling.api.hosts import address_of, is_local


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_addresses_however_they_are_spelled(host, address):
    assert str(address_of(host)) == address


@pytest.mark.parametrize("host", ["", "localhost", "example.com", "1.example.com", "::g", "1.2.3.4.5", "é", "a b"])
def test_names_are_no_addresses(host):
    assert address_of(host) is None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "kling.localhost", "emulator", "emulator.test", "printer.local"),
        *("host.docker.internal", "kling.default.svc", "kling.default.svc.cluster.local"),
        *("127.0.0.1", "127.1", "[::1]", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.1.1", "[fe80::1]"),
        *("[fd00::1]", "[::ffff:10.0.0.1]"),
    ],
)
def test_local(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        *("api.cometapi.com", "example.com.", "localhost.example.com", "svc.example.com", "mylocal.example", "a.dev"),
        *("notlocal.xlocal", "8.8.8.8", "134744072", "[2606:4700:4700::1111]", "[::ffff:8.8.8.8]"),
    ],
)
def test_public(host):
    assert not is_local(host)
