"""Whether an address can be listened on, asked before gRPC is: it writes a line of its own where it cannot."""

from __future__ import annotations

import errno
import socket


class CannotListen(Exception):
    """The address cannot be listened on: taken, not this machine's, or not allowed. The message is one line."""

    def __init__(self, listen: str, why: str) -> None:
        super().__init__(f"cannot listen on {listen}: {why}; name another one with --listen HOST:PORT")


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


def _why(refused: OSError | None) -> str:
    if refused is None or refused.strerror is None:
        return UNKNOWN
    return _WHY.get(refused.errno or 0, refused.strerror)
