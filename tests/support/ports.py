"""Free TCP ports on the loopback."""

from __future__ import annotations

import random
import socket

#: Below the range from which the system draws ports of outgoing connections, so that none takes ours meanwhile.
_RANGE = range(12_000, 32_000)


def free_port() -> int:
    """A port nobody listens on now. Raises OSError after many busy ones."""
    for port in random.sample(_RANGE, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port among 100 tried")
