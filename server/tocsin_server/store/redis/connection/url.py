"""The addresses of a Redis or Valkey, as users write them.

redis://[user:password@]host:port/db         one server          rediss:// the same over TLS
unix:///path/to/socket?db=0                  one server, by its socket
redis+sentinel://[user:password@]host:port,host:port/service/db  the primary that the sentinels name; rediss+sentinel://
redis+cluster://[user:password@]host:port,host:port              a cluster, by some of its nodes; rediss+cluster://

Options after "?" are redis-py's connection options (ssl_ca_certs, socket_timeout, ...); for sentinels also
sentinel_username and sentinel_password, and sentinel_ssl=false where only the primary speaks TLS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import unquote

from redis.asyncio.connection import SSLConnection, parse_url

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379


class Topology(Enum):
    """How the server that takes the commands is found."""

    DIRECT = 1
    SENTINEL = 2
    CLUSTER = 3


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """An address, taken apart. `options` are keyword arguments of redis-py's connections."""

    topology: Topology
    tls: bool
    options: Mapping[str, Any] = field(repr=False)  # may hold a password
    nodes: tuple[tuple[str, int], ...] = ()  # sentinels, or nodes of the cluster
    service: str = ""  # the sentinels' name of the primary
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_url(url: str) -> RedisUrl:
    """Take an address apart. ValueError, one line without secrets, where it is none of the above."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"the store's address must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    base, _, way = scheme.partition("+")
    if not way:
        _refuse_half_a_password(rest)
        options = _parse(url)
        tls = options.pop("connection_class", None) is SSLConnection
        return RedisUrl(Topology.DIRECT, tls, options)

    authority, slash, path = _split_path(rest)
    credentials, at, hosts = authority.rpartition("@")
    default_port = DEFAULT_SENTINEL_PORT if way == "sentinel" else DEFAULT_PORT
    nodes = tuple(_node(host, default_port) for host in hosts.split(","))
    _refuse_half_a_password(rest)
    if way == "cluster":
        # redis-py reads user, password and options from an address with one host.
        options = _parse(f"{base}://{credentials}{at}node{slash}{path}")
        for name in ("connection_class", "host", "port"):
            options.pop(name, None)
        if options.pop("db", 0):
            raise ValueError("a Redis Cluster has database 0 only: leave the database out of the store's address")
        return RedisUrl(Topology.CLUSTER, base == "rediss", options, nodes)

    path, question, query = path.partition("?")
    service, _, db = path.strip("/").partition("/")
    if not service:
        raise ValueError("the address of sentinels must name the primary's service: redis+sentinel://host:port/service")
    options = _parse(f"{base}://{credentials}{at}node/{db}{question}{query}")
    for name in ("connection_class", "host", "port"):
        options.pop(name, None)
    to_sentinel = {
        name: options.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in options
    }
    if base == "rediss" and str(options.pop("sentinel_ssl", "true")).lower() not in ("false", "no", "0"):
        # redis-py's plain client, which asks the sentinels, takes the same options as its TLS connections.
        to_sentinel |= {name: value for name, value in options.items() if name.startswith("ssl_")} | {"ssl": True}
    return RedisUrl(Topology.SENTINEL, base == "rediss", options, nodes, unquote(service), to_sentinel)


def _refuse_half_a_password(rest: str) -> None:
    """A "/", "?" or "#" that stands unquoted in a password ends the host too early: the password's first half would be
    connected to, and shown as a host."""
    before = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in before and "@" in re.sub(r"=[^&#]*", "", rest):
        raise ValueError(
            "the store's address cannot be read: percent-encode : / ? # @ % in user and password, as %3A %2F %3F %23 "
            "%40 %25"
        )


def _parse(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            "the store's address cannot be read: its port, its database or one of its options is wrong"
        ) from error


def _split_path(rest: str) -> tuple[str, str, str]:
    """authority, the slash or nothing, path with options. The password may hold no unquoted "/" or "?"."""
    for index, character in enumerate(rest):
        if character == "/":
            return rest[:index], "/", rest[index + 1 :]
        if character == "?":
            return rest[:index], "/", rest[index:]
    return rest, "", ""


def _node(text: str, default_port: int) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):  # an IPv6 address
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host or (port and not port.isdigit()):
        raise ValueError("the store's address names a node that is no host:port")  # which may be half a password
    return host, int(port or default_port)
