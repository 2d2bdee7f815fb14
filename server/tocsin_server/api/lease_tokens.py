"""Leases as workers carry them: opaque to them, and complete, so that any server takes any lease."""

from __future__ import annotations

import struct
from functools import lru_cache

from tocsin_server.api.requests.violations import is_name
from tocsin_server.domain import limits
from tocsin_server.domain.lease import Lease
from tocsin_server.domain.workers import HeldToken

#: Version, attempt, and the lengths of the store's token, the queue and the type. These follow, and then the job's id.
_HEAD = struct.Struct(">BIBBB")
_VERSION = 1
_MOST_BYTES = 1 << 10


def token_of(lease: Lease, type_: str) -> bytes:
    """A lease of a job of this type."""
    token, queue, kind = lease.token, lease.queue.encode(), type_.encode()
    head = _HEAD.pack(_VERSION, lease.attempt, len(token), len(queue), len(kind))
    return b"".join((head, token, queue, kind, lease.job_id.encode()))


def read_token(raw: bytes) -> HeldToken | None:
    """The lease in a token; None where it is none."""
    if not _HEAD.size < len(raw) <= _MOST_BYTES or raw[0] != _VERSION:
        return None
    _, attempt, token, queue, kind = _HEAD.unpack_from(raw)
    at_queue = _HEAD.size + token
    at_type = at_queue + queue
    at_id = at_type + kind
    named = _names(raw[at_queue:at_type], raw[at_type:at_id])
    if named is None or not token or not 0 < len(raw) - at_id <= limits.JOB_ID_BYTES:
        return None
    try:
        job_id = raw[at_id:].decode()
    except UnicodeDecodeError:
        return None
    return HeldToken(Lease(named[0], job_id, attempt, raw[_HEAD.size : at_queue]), named[1])


@lru_cache(1024)
def _names(queue: bytes, kind: bytes) -> tuple[str, str] | None:
    """Queue and type; None where they cannot be."""
    try:
        names = queue.decode(), kind.decode()
    except UnicodeDecodeError:
        return None
    return names if all(map(is_name, names)) else None
