"""Whether an address can be listened on, asked before gRPC is: it writes a line of its own where it cannot. And an
address held for several processes which share it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class CannotListen(Exception):
    """The address cannot be listened on: taken, not this machine's, or not allowed. The message is one line."""

    def __init__(self, listen: str, why: str) -> None:
        super().__init__(f"cannot listen on {listen}: {why}; name another one with --listen HOST:PORT")


class CannotServeDashboard(Exception):
    """The dashboard's address cannot be listened on. The message is one line."""


#: Where only gRPC itself found out.
UNKNOWN = "another program has the port, or the address is not this machine's"
_WHY = {
    errno.EADDRINUSE: "another program has the port",
    errno.EADDRNOTAVAIL: "the address is not this machine's",
}


def check_can_listen(listen: str, *, reuse_port: bool) -> None:
    """CannotListen where none of the addresses behind "host:port" can be bound. Nothing is left bound."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(listen, error.strerror or str(error)) from error
    refused: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                # As gRPC binds: connections that wait for their end do not hold a port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if reuse_port:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                probe.bind(address)
                probe.listen(1)
                return
        except OSError as error:
            refused = error
    raise CannotListen(listen, _why(refused))


@contextmanager
def shared_address(listen: str) -> Iterator[str]:
    """Hold "host:port" for processes that listen there together, and no other program; with port 0 a free one.

    The kernel hands each new connection to one of those that listen. CannotListen, also where another program, were it
    a Tocsin of several processes, has the port already.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CannotListen(listen, "this system lets no two processes share a port (leave --processes away)")
    check_can_listen(listen, reuse_port=False)
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind(address)  # never listens: connections go to those that do
        except OSError as error:
            raise CannotListen(listen, _why(error)) from error
        yield f"{host}:{held.getsockname()[1]}"


def _why(refused: OSError | None) -> str:
    if refused is None or refused.strerror is None:
        return UNKNOWN
    return _WHY.get(refused.errno or 0, refused.strerror)
