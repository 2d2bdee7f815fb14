"""Which addresses requests may go to. A job's URL is its caller's, and the server stands where callers may not go."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence

from tocsin_server.domain.http_requests import allowed
from tocsin_server.webhooks.address_ranges import Address, Reach, inner_ipv4, reach_of
from tocsin_server.webhooks.errors import AddressRefused, NameUnknown

#: Gives the addresses of a name, as texts, in the order in which they are to be tried. Raises OSError.
Resolve = Callable[[str], Awaitable[Sequence[str]]]

#: What `allow_private` allows: a metadata service and a link-local address only a network or a name in `allow` does.
_NEAR = frozenset({Reach.THIS_MACHINE, Reach.PRIVATE})


class Guard:
    """Looks a host up and gives the addresses that may be connected to.

    allow: networks, addresses and names that requests may go to besides those on the internet. allow_private: also to
    this machine and to private networks.
    """

    def __init__(
        self, allow: Collection[str] = (), *, allow_private: bool = False, resolve: Resolve | None = None
    ) -> None:
        self._names, self._networks = allowed(allow)
        self._allow_private = allow_private
        self._resolve = resolve or resolve_by_system

    async def addresses(self, host: str) -> Sequence[str]:
        """Addresses of a host that may be connected to, at least one. What was looked up is what is to be connected to:
        asked again, a name may have others. AddressRefused, NameUnknown."""
        found = await self._found(host)
        if host in self._names:
            return [str(address) for address in found]
        fit = [str(address) for address in found if self._allows(address)]
        if not fit:
            where = ", ".join(sorted({reach_of(address).value for address in found}))
            raise AddressRefused(f"{host} is {where}, and http.allow does not name it")
        return fit

    async def _found(self, host: str) -> Sequence[Address]:
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            pass
        try:
            texts = await self._resolve(host)
        except OSError as error:
            raise NameUnknown(f"{host} cannot be looked up ({error.strerror or type(error).__name__})") from None
        # A zone ("fe80::1%eth0") is of link-local addresses only, which are allowed or not whatever it is.
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        if not found:
            raise NameUnknown(f"{host} has no address")
        return list(dict.fromkeys(found))

    def _allows(self, address: Address) -> bool:
        reach = reach_of(address)
        if reach is Reach.INTERNET or (self._allow_private and reach in _NEAR):
            return True
        inner = inner_ipv4(address)
        return any(one in network for network in self._networks for one in (address, inner) if one is not None)


async def resolve_by_system(host: str) -> Sequence[str]:
    """As all programs on this machine do: by hosts file and DNS."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]
