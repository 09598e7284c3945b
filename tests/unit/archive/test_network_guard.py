"""Which addresses a download may connect to."""

from __future__ import annotations

import pytest

from airflow_kling.archive.network_guard import is_public, resolve


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1450:4001::8a"],
)
def test_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",  # carrier-grade NAT
        "100.100.100.200",  # metadata service of one cloud
        "127.0.0.1",
        "127.9.9.9",
        "168.63.129.16",  # of another
        "169.254.169.254",  # of most
        "172.16.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",  # a site's own NAT64
        "100::1",
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::1",  # 6to4
        "2002:808:808::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "localhost",
        "",
        "1.1.1.1 ",
    ],
)
def test_not_public(address):
    assert not is_public(address)


def test_resolve_gives_every_address_once():
    assert set(resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert resolve("127.1", 80) == ["127.0.0.1"]
