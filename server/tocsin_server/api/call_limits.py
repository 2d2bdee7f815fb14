"""How many calls may be open, how many of those one client may have, and how many it may make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many calls may be open at once, by class of method; how many of those one client may have; how much of
    requests; and for how long. None: any number."""

    calls: int = 10_000
    watches: int = 1_000
    workers: int = 2_000
    transfers: int = 16
    calls_per_client: int | None = None
    watches_per_client: int = 500
    workers_per_client: int | None = None
    transfers_per_client: int = 8
    request_bytes: int = 128 << 20  # of all requests under way
    request_bytes_per_client: int | None = None
    per_second_per_client: float | None = None  # calls that are begun
    burst_per_client: int = 100  # of them at once
    exempt: frozenset[str] = frozenset()  # clients that have no limits of their own, by name or address
    idle: timedelta = timedelta(seconds=30)  # for so long a transfer may stand still, and a request not come
    deadline: timedelta = timedelta(seconds=30)  # of a unary call whose caller sets none

    @property
    def open(self) -> int:
        """How many may be open of all classes together."""
        return self.calls + self.watches + self.workers + self.transfers

    def is_exempt(self, client: str) -> bool:
        """Whether a client has no limits of its own. `client` as `Call.client` has it."""
        return bool(self.exempt) and (client in self.exempt or _host(client) in self.exempt)


def _host(client: str) -> str:
    """10.0.0.1 of "ipv4:10.0.0.1", ::1 of "ipv6:%5B::1%5D"."""
    return client.partition(":")[2].removeprefix("%5B").removesuffix("%5D").strip("[]")
