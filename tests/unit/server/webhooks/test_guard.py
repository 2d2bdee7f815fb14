"""Names are looked up once, and only fit addresses of what came are given."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from tocsin_server.webhooks.errors import AddressRefused, NameUnknown
from tocsin_server.webhooks.guard import Guard, Resolve, resolve_by_system


def names(**known: Sequence[str]) -> Resolve:
    """A resolver that knows these, with - for a dot."""

    async def resolve(host: str) -> Sequence[str]:
        return known.get(host.replace(".", "_").replace("-", "_"), ())

    return resolve


PUBLIC = ("93.184.215.14", "2606:2800:220:1::1")


async def test_addresses_on_the_internet_are_given_in_their_order() -> None:
    guard = Guard(resolve=names(example_com=(*PUBLIC, PUBLIC[0])))
    assert await guard.addresses("example.com") == list(PUBLIC)
    assert await guard.addresses(PUBLIC[1]) == [PUBLIC[1]]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.7", "169.254.169.254", "0.0.0.0", "100.64.0.1", "192.0.2.1", "224.0.0.1"),
        *("::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:a00:7", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "::7f00:2"),
    ],
)
async def test_an_address_near_by_is_refused_as_literal_and_behind_a_name(address: str) -> None:
    guard = Guard(resolve=names(rebound_example=(address,)))
    for host in (address, "rebound.example"):
        with pytest.raises(AddressRefused, match=r"http\.allow") as refused:
            await guard.addresses(host)
        assert refused.value.final


async def test_of_a_names_addresses_only_fit_ones_are_given() -> None:
    guard = Guard(resolve=names(mixed_example=("10.0.0.7", PUBLIC[0], "::1")))
    assert await guard.addresses("mixed.example") == [PUBLIC[0]]


async def test_a_link_local_address_with_a_zone_is_refused() -> None:
    with pytest.raises(AddressRefused, match="link-local"):
        await Guard(resolve=names(a_b=("fe80::1%eth0",))).addresses("a.b")


async def test_private_addresses_can_be_allowed_and_metadata_are_not_among_them() -> None:
    guard = Guard(allow_private=True)
    for address in ("127.0.0.1", "10.0.0.7", "100.64.0.1", "::1", "fd12::1", "::ffff:127.0.0.1", "64:ff9b::a00:7"):
        assert await guard.addresses(address) == [str(ip_address(address))]
    for address in ("169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "224.0.0.1", "::ffff:a9fe:a9fe"):
        with pytest.raises(AddressRefused):
            await guard.addresses(address)


async def test_networks_and_names_can_be_allowed() -> None:
    resolve = names(intranet_example=("10.9.9.9",), other_example=("10.9.9.9",), near_example=("10.1.2.3",))
    guard = Guard(["10.1.0.0/16", "Intranet.Example", "169.254.169.254"], resolve=resolve)
    assert await guard.addresses("intranet.example") == ["10.9.9.9"]
    assert await guard.addresses("near.example") == ["10.1.2.3"]
    assert await guard.addresses("169.254.169.254") == ["169.254.169.254"]
    # An address that holds an allowed one leads to that one.
    assert await guard.addresses("::ffff:10.1.2.3") == [str(ip_address("::ffff:10.1.2.3"))]
    for host in ("other.example", "10.2.0.1", "sub.intranet.example"):
        with pytest.raises((AddressRefused, NameUnknown)):
            await guard.addresses(host)


async def test_a_name_that_is_not_known_may_be_known_later() -> None:
    async def away(host: str) -> Sequence[str]:
        raise OSError(-3, "Temporary failure in name resolution")

    for guard in (Guard(resolve=away), Guard(resolve=names())):
        with pytest.raises(NameUnknown) as unknown:
            await guard.addresses("example.com")
        assert not unknown.value.final


async def test_the_system_resolves_this_machine_and_numbers_in_any_form_to_what_is_refused() -> None:
    assert set(await resolve_by_system("localhost")) <= {"127.0.0.1", "::1"}
    # web_address refuses these; should one slip by, the address that comes of it is refused.
    for form in ("2130706433", "0x7f.1", "017700000001", "127.1"):
        with pytest.raises(AddressRefused, match="this machine"):
            await Guard().addresses(form)
