"""What kind of place an address is, in each of the forms that lead there."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.webhooks.address_ranges import Reach, inner_ipv4, reach_of

NEAR = {
    "0.0.0.0": Reach.THIS_MACHINE,
    "0.1.2.3": Reach.THIS_MACHINE,
    "127.0.0.1": Reach.THIS_MACHINE,
    "127.255.255.254": Reach.THIS_MACHINE,
    "10.0.0.1": Reach.PRIVATE,
    "100.64.0.1": Reach.PRIVATE,
    "100.127.255.255": Reach.PRIVATE,
    "172.16.0.1": Reach.PRIVATE,
    "172.31.255.255": Reach.PRIVATE,
    "192.168.1.1": Reach.PRIVATE,
    "169.254.0.1": Reach.LINK_LOCAL,
    "169.254.169.254": Reach.LINK_LOCAL,
    "100.100.100.200": Reach.METADATA,
    "192.0.0.192": Reach.METADATA,
    "168.63.129.16": Reach.METADATA,
    "224.0.0.1": Reach.MULTICAST,
    "239.255.255.255": Reach.MULTICAST,
    "255.255.255.255": Reach.UNROUTED,
    "240.0.0.1": Reach.UNROUTED,
    "192.0.2.1": Reach.UNROUTED,
    "198.18.0.1": Reach.UNROUTED,
    "::": Reach.THIS_MACHINE,
    "::1": Reach.THIS_MACHINE,
    "fe80::1": Reach.LINK_LOCAL,
    "febf::1": Reach.LINK_LOCAL,
    "fc00::1": Reach.PRIVATE,
    "fdff::1": Reach.PRIVATE,
    "fd00:ec2::254": Reach.METADATA,
    "fd20:ce::254": Reach.METADATA,
    "ff02::1": Reach.MULTICAST,
    "fec0::1": Reach.UNROUTED,
    "2001:db8::1": Reach.UNROUTED,
    "2001::1": Reach.UNROUTED,
    "2001:20::1": Reach.UNROUTED,
    "3fff::1": Reach.UNROUTED,
    "100::1": Reach.UNROUTED,
    "64:ff9b:1::1": Reach.UNROUTED,
    "4000::1": Reach.UNROUTED,
}
FAR = (
    *("1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1"),
    *("2606:4700::1111", "2a00:1450::1", "2620:fe::9"),
)


@pytest.mark.parametrize(("address", "reach"), NEAR.items())
def test_an_address_near_by_is_told(address: str, reach: Reach) -> None:
    assert reach_of(ipaddress.ip_address(address)) is reach


@pytest.mark.parametrize("address", FAR)
def test_an_address_on_the_internet_is_told(address: str) -> None:
    assert reach_of(ipaddress.ip_address(address)) is Reach.INTERNET


def holding(inner: IPv4Address) -> list[IPv6Address]:
    """The IPv6 addresses from which packets end at an IPv4 one."""
    number = int(inner)
    return [
        IPv6Address(prefix | number << shift | rest)
        for prefix, shift, rest in (
            (int(IPv6Address("::ffff:0:0")), 0, 0),  # mapped
            (int(IPv6Address("::ffff:0:0:0")), 0, 0),  # translated
            (int(IPv6Address("64:ff9b::")), 0, 0),  # NAT64
            (int(IPv6Address("2002::")), 80, 0),  # 6to4
            (int(IPv6Address("2002::")), 80, 0x1234),
            (int(IPv6Address("fe80::5efe:0:0")), 0, 0),  # ISATAP
            (int(IPv6Address("2a00:1450::200:5efe:0:0")), 0, 0),
            *([(0, 0, 0)] if number > 1 else []),  # compatible; :: and ::1 are other things
        )
    ]


@given(st.sampled_from([IPv4Address(address) for address in NEAR if "." in address]) | st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_one_is_what_counts(inner: IPv4Address) -> None:
    for address in holding(inner):
        assert inner_ipv4(address) == inner
        assert reach_of(address) is reach_of(inner)


@given(st.ip_addresses(v=6))
def test_whatever_python_calls_private_is_not_on_the_internet(address: IPv6Address) -> None:
    if not address.is_global and inner_ipv4(address) is None:
        assert reach_of(address) is not Reach.INTERNET
