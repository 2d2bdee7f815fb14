"""The connection to a server: address, channel, keepalive, sizes."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from typing import NoReturn

import grpc

from tocsin._access import Tls
from tocsin.errors import InvalidArgument, WrongType

DEFAULT_PORT = 50051
DEFAULT_ADDRESS = f"localhost:{DEFAULT_PORT}"
ADDRESS_VARIABLE = "TOCSIN_ADDRESS"

_MIB = 1024 * 1024
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", 16 * _MIB),  # the server's limit of a request
    ("grpc.max_receive_message_length", 16 * _MIB),  # the server stays below 4; a batch's answer may be larger
    # A dead link is seen within 80 s while a call is open. Servers forbid much more frequent pings.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that was restarted is found again within 3 s; gRPC's own choice grows to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
)


def resolve_address(address: str | None) -> str:
    """The address to connect to: the one given, else TOCSIN_ADDRESS, else localhost:50051. A missing port is 50051.

    gRPC's own forms with a scheme ("unix:PATH", "dns:///host:port") go through as they are. Raises InvalidArgument for
    http URLs and for what is no port, WrongType for what is no text.
    """
    if address is not None and not isinstance(address, str):
        raise WrongType.of("address", f'is "host:port", not of type {type(address).__name__}')
    address = (address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS).strip()
    if address.startswith(("http://", "https://")):
        host = address.partition("//")[2].rstrip("/")
        raise InvalidArgument.of("address", f"the address is host:port, without http: {host!r}")
    if address.startswith(("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:")):
        return address
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and not host.endswith(":"):
        if not 1 <= int(port) <= 65535:
            raise InvalidArgument.of("address", f"{address!r} has no port of 1 to 65535")
        return address
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]:{DEFAULT_PORT}"  # a bare IPv6 address
    if colon and port and not address.endswith("]"):
        raise InvalidArgument.of("address", f"{address!r} has no port of 1 to 65535")
    return f"{address.rstrip(':')}:{DEFAULT_PORT}"


def is_local(address: str) -> bool:
    """Whether an address, resolved, leads to this machine: a unix socket, localhost or a loopback address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    target = re.sub(r"^(dns|ipv4|ipv6):(///?)?", "", address)
    return all(_is_loopback(one.rpartition(":")[0].strip("[]") or one) for one in target.split(","))


def _is_loopback(host: str) -> bool:
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_channel(
    address: str, tls: Tls | None, *, proxies: bool = True, options: Sequence[tuple[str, int]] = ()
) -> grpc.aio.Channel:
    """A channel of the running event loop. It connects with its first call. `options` stand in place of our own.

    gRPC asks the proxy that http_proxy names for any address; what is on this machine no proxy can reach.
    """
    chosen: dict[str, int | str] = {**dict(_OPTIONS), **dict(options)}
    if not proxies or is_local(address):
        chosen["grpc.enable_http_proxy"] = 0
    if tls is None:
        return grpc.aio.insecure_channel(address, options=list(chosen.items()))
    if tls.server_name is not None:
        chosen["grpc.ssl_target_name_override"] = tls.server_name
    credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
    return grpc.aio.secure_channel(address, credentials, options=list(chosen.items()))


def refuse_copying(client: object) -> NoReturn:
    """What `pickle`, `copy` and multiprocessing are told of a client."""
    raise TypeError(
        f"a {type(client).__name__} is a connection and can be neither pickled nor copied: hand on its address, and "
        "make one in the process that uses it"
    )


def token_metadata(token: str | None, address: str, tls: Tls | None) -> tuple[tuple[str, str], ...]:
    """What each call carries to say who calls. Raises InvalidArgument where the token would travel in clear."""
    if token is None:
        return ()
    if tls is None and not is_local(address):
        raise InvalidArgument.of(
            "token",
            f"would travel to {address} without encryption, for all on the way to read: ask for TLS too (tls=True, "
            "--tls or TOCSIN_TLS=1)",
        )
    return (("authorization", f"Bearer {token}"),)
