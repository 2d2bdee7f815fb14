"""How connections are treated: how long they last, what may be on one, and what gRPC is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.api.reading import METADATA_BYTES
from tocsin_server.domain import limits

# Numbers of grpc's compression algorithms.
_IDENTITY, _GZIP = 0, 2

# Of these so many are let in, however few calls may be open: grpc refuses those beyond at random and without a reason.
_LEAST_STREAMS = 10_000

# A request a little over its limit is read, so that it is refused with a reason and not by the transport.
_RECEIVE_BYTES = limits.REQUEST_BYTES + (64 << 10)


@dataclass(frozen=True, slots=True)
class Connections:
    """How long connections last, and what may be on one."""

    max_age: timedelta = timedelta(minutes=30)  # a tenth more or less; then its client is asked to make another one
    max_age_grace: timedelta = timedelta(minutes=30)  # for calls on it that are open then
    max_idle: timedelta = timedelta(minutes=15)  # without any call
    per_address: int | None = None  # of one client; None: any number
    handshake_timeout: timedelta = timedelta(seconds=20)  # until HTTP/2 is spoken, and TLS where it is
    # A peer that went away without a word is noticed within a minute and a half, and its watches end.
    keepalive_time: timedelta = timedelta(seconds=60)
    keepalive_timeout: timedelta = timedelta(seconds=20)
    # Clients behind proxies ping too: so often is allowed, also while they have no call open.
    min_ping_interval: timedelta = timedelta(seconds=10)
    max_streams: int | None = None  # calls at once; None: as many as may be open in all
    max_metadata_bytes: int = METADATA_BYTES  # of a call


def options(connections: Connections, *, open_calls: int, room: int, reuse_port: bool) -> list[tuple[str, int]]:
    """grpc's options. `open_calls` may be open in all, `room` is for so many connections."""
    most = max(open_calls, _LEAST_STREAMS)
    return [
        ("grpc.max_receive_message_length", _RECEIVE_BYTES),
        # Requests are inflated in reading.py, which asks first whether there is room; gzip is what it knows.
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", 1 << _IDENTITY | 1 << _GZIP),
        # grpc ends calls that it could not hand over yet as CANCELLED, at random from 1,000 on: let ours refuse them.
        ("grpc.server.max_pending_requests", 2 * most),
        ("grpc.server.max_pending_requests_hard_limit", 3 * most),
        ("grpc.max_concurrent_streams", most if connections.max_streams is None else connections.max_streams),
        # Of one frame; refused at random from half as much. Of all frames of a call reading.py says it once more.
        ("grpc.max_metadata_size", connections.max_metadata_bytes // 2),
        ("grpc.absolute_max_metadata_size", connections.max_metadata_bytes),
        ("grpc.max_connection_age_ms", _ms(connections.max_age)),
        ("grpc.max_connection_age_grace_ms", _ms(connections.max_age_grace)),
        ("grpc.max_connection_idle_ms", _ms(connections.max_idle)),
        # Beyond it a connection is closed at once: files, the store and handlers' processes need descriptors, too.
        ("grpc.max_allowed_incoming_connections", room),
        ("grpc.server_handshake_timeout_ms", _ms(connections.handshake_timeout)),
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.keepalive_time_ms", _ms(connections.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _ms(connections.keepalive_timeout)),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(connections.min_ping_interval)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
