"""The connection to a server: address, TLS, token, keepalive, sizes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import grpc

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


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection. All are PEM; None: the usual root certificates, and no client certificate."""

    root_certificates: bytes | None = None
    private_key: bytes | None = None
    certificate_chain: bytes | None = None
    server_name: str | None = None  # what the server's certificate is for, where the address says another name


def resolve_address(address: str | None) -> str:
    """The address to connect to: the one given, else TOCSIN_ADDRESS, else localhost:50051. A missing port is 50051.

    gRPC's own forms with a scheme ("unix:PATH", "dns:///host:port") go through as they are; ValueError for http URLs.
    """
    address = (address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS).strip()
    if address.startswith(("http://", "https://")):
        raise ValueError(f"the address is host:port, without http: {address.partition('//')[2].rstrip('/')!r}")
    if address.startswith(("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:")):
        return address
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and not host.endswith(":"):
        return address
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]:{DEFAULT_PORT}"  # a bare IPv6 address
    return f"{address.rstrip(':')}:{DEFAULT_PORT}"


def open_channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel of the running event loop. It connects with its first call."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    options: list[tuple[str, int | str]] = list(_OPTIONS)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
    return grpc.aio.secure_channel(address, credentials, options=options)


def token_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What each call carries to say who calls."""
    return () if token is None else (("authorization", f"Bearer {token}"),)
