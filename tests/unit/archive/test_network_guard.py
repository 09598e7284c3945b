"""Which addresses a download may connect to. Nothing here is connected to."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import httpcore
import pytest

from airflow_kling.archive.network_guard import AddressRefused, NetworkGuard, is_metadata, is_public, resolve


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


METADATA = [
    *("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "100.100.100.200"),
    *("168.63.129.16", "192.0.0.192", "fd20:ce::254", "169.254.42.42", "fd00:42::42", "169.254.0.23"),
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::6464:64c8",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",  # RFC 6052 with a prefix of 48 bits
    "2001:db8:a9fe:a9fe::",  # of 32
    "2001:db8:1:2:a9:fea9:fe00::",  # of 64
    "2001:db8:64::a9fe:a9fe",  # of 96, chosen by the network
    "2002:a9fe:a9fe::1",  # 6to4
    "2001:0:808:808:0:0:5601:5601",  # Teredo
    "fe80::5efe:a9fe:a9fe",  # ISATAP
    "fe80::a9fe:a9fe%eth0",  # OpenStack
    "fd00:c1::a9fe:a9fe",  # Oracle
    "fd00:ec2::254%eth0",
    "2852039166",
    "0xa9.0376.43518",
]
EVERYTHING = tuple(map(ip_network, ("0.0.0.0/0", "::/0")))
DEVELOPMENT = NetworkGuard(trusted_networks=EVERYTHING, allow_private_hosts=True)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_stay_refused_whatever_is_allowed(address):
    assert is_metadata(address)
    assert not DEVELOPMENT.allows(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.253", "169.254.1.1", "192.168.1.1", "::1", "fd00::1", "1.1.1.1"]
)
def test_private_hosts_may_be_allowed(address):
    assert not is_metadata(address)
    assert DEVELOPMENT.allows(address)
    assert NetworkGuard(allow_private_hosts=True).allows(address)
    assert NetworkGuard(trusted_networks=EVERYTHING).allows(address)


def test_what_is_no_address_is_never_allowed():
    assert not DEVELOPMENT.allows("localhost")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("198.18.0.1", True),
        ("198.19.255.255", True),
        ("::ffff:198.18.0.1", True),
        ("fd00:1::1", True),
        ("1.1.1.1", True),
        ("198.20.0.1", True),  # public
        ("100.64.0.1", False),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("fd00:2::1", False),
    ],
)
def test_trusted_networks_are_allowed_beside_the_public_ones_alone(address, allowed):
    networks = (ip_network("198.18.0.0/15"), ip_network("fd00:1::/32"))
    assert NetworkGuard(trusted_networks=networks).allows(address) is allowed


@pytest.mark.parametrize("name", ["metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.goog"])
@pytest.mark.parametrize("check", ["addresses", "check_proxied"])
def test_names_of_metadata_services_are_not_even_resolved(name, check):
    guard = NetworkGuard(EVERYTHING, allow_private_hosts=True, resolver=lambda host, port: pytest.fail("resolved"))
    with pytest.raises(AddressRefused, match="which nothing allows"):
        getattr(guard, check)(name, 80)


def unknown(host: str, port: int) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("resolver", [unknown, lambda host, port: []])
def test_a_proxy_may_know_a_public_name_that_is_unknown_here(resolver):
    NetworkGuard(resolver=resolver).check_proxied("images.example", 443)
    with pytest.raises(httpcore.ConnectError):
        NetworkGuard(resolver=resolver).addresses("images.example", 443)


@pytest.mark.parametrize("host", ["intranet", "wiki.internal", "api.default.svc", "localhost", "a.svc.cluster.local"])
def test_a_proxy_is_not_asked_for_names_of_its_own_network(host):
    with pytest.raises(AddressRefused, match="not a public name"):
        NetworkGuard(resolver=unknown).check_proxied(host, 443)
    NetworkGuard(allow_private_hosts=True, resolver=unknown).check_proxied(host, 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "10.0.0.1", "[fd00::1]"])
def test_a_proxy_is_not_asked_for_private_addresses(host):
    guard = NetworkGuard(resolver=unknown)
    with pytest.raises(AddressRefused, match="is not public"):
        guard.check_proxied(host, 443)
    NetworkGuard(allow_private_hosts=True, resolver=unknown).check_proxied(host, 443)


@pytest.mark.parametrize("host", [f"[{address}]" if ":" in address else address for address in METADATA])
def test_a_proxy_is_not_asked_for_metadata_services(host):
    with pytest.raises(AddressRefused, match="metadata"):
        NetworkGuard(EVERYTHING, allow_private_hosts=True, resolver=unknown).check_proxied(host, 80)


def test_a_name_that_resolves_here_is_checked_before_a_proxy_is_asked():
    NetworkGuard(resolver=lambda host, port: ["1.1.1.1"]).check_proxied("images.example", 443)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        NetworkGuard(resolver=lambda host, port: ["1.1.1.1", "10.0.0.1"]).check_proxied("images.example", 443)
    with pytest.raises(AddressRefused, match="metadata"):
        NetworkGuard(EVERYTHING, resolver=lambda host, port: ["169.254.169.254"]).check_proxied("a.example", 443)


@pytest.mark.parametrize("host", ["169%2e254%2e169%2e254", "a b", "a/b", "a@b", ""])
def test_what_is_no_host_name_is_not_handed_to_a_proxy(host):
    with pytest.raises(AddressRefused, match="is not a host name"):
        NetworkGuard(allow_private_hosts=True, resolver=unknown).check_proxied(host, 443)
