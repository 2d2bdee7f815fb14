"""What kind of place an IP address is: one on the internet, or one that only this machine or its network reaches."""

from __future__ import annotations

import ipaddress
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(Enum):
    """From where an address is reached. The values are words for people."""

    INTERNET = "on the internet"
    THIS_MACHINE = "this machine itself"
    PRIVATE = "in a private network"
    LINK_LOCAL = "link-local, where clouds keep their metadata"
    METADATA = "a cloud's metadata service"
    MULTICAST = "multicast"
    UNROUTED = "in a range that no single host on the internet has"


#: Metadata services that stand where neither a link-local nor a private range gives them away: those of Alibaba, Oracle
#: and Azure, and those of AWS, Google and Scaleway over IPv6. Whoever reads them may act as the machine.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
    )
)
_PRIVATE: tuple[Network, ...] = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_THIS_MACHINE: tuple[Network, ...] = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")))
_LINK_LOCAL: tuple[Network, ...] = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10")))
#: Hosts on the internet have IPv6 addresses of this range, and none of the rest of it that IANA gave away for other
#: ends: Teredo, ORCHID, documentation.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_ODD_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

#: IPv6 ranges that hold an IPv4 address, and where in it that stands, counted in bits from the right: IPv4-mapped and
#: IPv4-compatible (RFC 4291), IPv4-translated (RFC 7915), NAT64 (RFC 6052), 6to4 (RFC 3056).
_HOLDING_IPV4: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
#: The interface's part of an ISATAP address (RFC 5214), before the IPv4 address that it ends in.
_ISATAP = (0x00005EFE, 0x02005EFE)


def inner_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 one end at; None: it holds none."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if number <= 1:  # the unspecified and the loopback address, which are in the range of IPv4-compatible ones
        return None
    for network, shift in _HOLDING_IPV4:
        if address in network:
            return IPv4Address(number >> shift & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        return IPv4Address(number & 0xFFFF_FFFF)
    return None


def reach_of(address: Address) -> Reach:
    """From where it is reached; an address that holds another one is reached as that one is."""
    if (inner := inner_ipv4(address)) is not None:
        return reach_of(inner)
    if address in _METADATA:
        return Reach.METADATA
    for networks, reach in (
        (_THIS_MACHINE, Reach.THIS_MACHINE),
        (_LINK_LOCAL, Reach.LINK_LOCAL),
        (_PRIVATE, Reach.PRIVATE),
    ):
        if any(address in network for network in networks):
            return reach
    if address.is_multicast:
        return Reach.MULTICAST
    if isinstance(address, IPv6Address):
        routed = address in _GLOBAL_IPV6 and not any(address in network for network in _ODD_IPV6)
        return Reach.INTERNET if routed and address.is_global else Reach.UNROUTED
    return Reach.INTERNET if address.is_global else Reach.UNROUTED
