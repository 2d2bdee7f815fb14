"""Which server a worker goes to next, and when."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin._channel import ADDRESS_VARIABLE, DEFAULT_ADDRESS, resolve_address
from tocsin.errors import InvalidArgument

#: Seconds before a server that could not be reached is asked again: at first, doubling up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


@dataclass(slots=True)
class _Server:
    address: str
    rests_until: float = 0.0  # time.monotonic()
    failures: int = 0  # in a row


class Addresses:
    """Several servers of one store; any of them will do. Begins at one by chance, so that workers spread."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._servers = [_Server(address) for address in dict.fromkeys(addresses)]
        self._at = random.randrange(len(self._servers))  # noqa: S311 - no secret

    def __len__(self) -> int:
        return len(self._servers)

    def next(self) -> tuple[str, float]:
        """The address to try, and how many seconds to wait before: the next one in turn that may be asked now, else
        the one that may be asked first."""
        now = time.monotonic()
        in_turn = [*self._servers[self._at :], *self._servers[: self._at]]
        found = min(in_turn, key=lambda server: max(now, server.rests_until))
        self._at = self._servers.index(found)
        return found.address, max(0.0, found.rests_until - now)

    @property
    def others_wait(self) -> bool:
        """Whether another server than the last one may be asked now."""
        now = time.monotonic()
        return any(server.rests_until <= now for server in self._servers if server is not self._servers[self._at])

    def reached(self) -> None:
        """The last one has answered."""
        self._servers[self._at].failures = 0

    def failed(self) -> float:
        """The last one could not be reached, or was lost. Seconds that it is left alone."""
        server = self._servers[self._at]
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(server.failures, 10))
        server.failures += 1
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - so that workers do not come back all at once
        server.rests_until = time.monotonic() + pause
        self._at = (self._at + 1) % len(self._servers)
        return pause

    def drains(self, retry_after: timedelta) -> None:
        """The last one is shutting down: it is left alone for so long."""
        self._servers[self._at].rests_until = time.monotonic() + max(FIRST_PAUSE, retry_after.total_seconds())


def addresses_of(given: str | Sequence[str] | None) -> Sequence[str]:
    """The addresses in "host:port,host:port" or a list of them; None: those in TOCSIN_ADDRESS, else localhost:50051.

    Raises InvalidArgument for what is no address, WrongType for what is no text.
    """
    if given is None:
        given = os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    if isinstance(given, str):
        # A scheme of gRPC's own may list addresses by itself.
        given = [given] if given.startswith(("ipv4:", "ipv6:")) else given.split(",")
    found = [resolve_address(address) for address in given if not isinstance(address, str) or address.strip()]
    if not found:
        raise InvalidArgument.of("address", "no address was given")
    return found
