"""Page tokens: where a list goes on, and for which filter. Opaque to callers."""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.filters import JobFilter, Order, Position
from tocsin_server.domain.times import time_to_ms, to_time

_LAST_MS = time_to_ms(limits.LAST_TIME)
_JOBS = struct.Struct(">B8sQqI")  # version, hash of the filter, arrival, due ms or -1, skip
_JOBS_VERSION = 1
_QUEUES_VERSION = 2  # followed by the name of the last queue
_WORKER_BYTES = 4 * limits.WORKER_NAME_CHARACTERS  # as UTF-8
_WORKERS_VERSION = 3  # followed by the name of the last worker
_SCHEDULES = struct.Struct(">B8s")  # version, hash of the queue; followed by the id of the last schedule
_SCHEDULES_VERSION = 5
_CALENDARS_VERSION = 6  # followed by the name of the last calendar
_SHARED_LIMITS_VERSION = 7  # followed by the name of the last shared limit
_NO_DUE = -1


def filter_hash(queue: str, filter_: JobFilter, order: Order) -> bytes:
    """8 bytes that differ where the lists do."""
    words = (
        queue,
        sorted(filter_.states),
        sorted(filter_.types),
        sorted(filter_.tags.items()),
        filter_.priority_min,
        filter_.priority_max,
        *(str(time) for w in (filter_.scheduled, filter_.created, filter_.ended) for time in (w.start, w.end)),
        int(order),
    )
    return hashlib.blake2b(repr(words).encode(), digest_size=8).digest()


def jobs_token(list_hash: bytes, position: Position) -> str:
    """The token of a list of jobs that goes on after `position`."""
    due = _NO_DUE if position.due is None else time_to_ms(position.due)
    return _text(_JOBS.pack(_JOBS_VERSION, list_hash, position.arrival, due, position.skip))


def jobs_position(list_hash: bytes, token: str, skip_more: int = 0) -> Position:
    """Where a list of jobs goes on, and from there passes over `skip_more`. InvalidFields for no token of this list."""
    raw = _bytes(token)
    if len(raw) != _JOBS.size or raw[0] != _JOBS_VERSION:
        raise _refused("is not a token of this server's lists")
    _, of_list, arrival, due, skip = _JOBS.unpack(raw)
    if of_list != list_hash:
        raise _refused("was given for another queue, filter or order; keep those while you page")
    if not (_NO_DUE <= due <= _LAST_MS and skip <= limits.SKIP):
        raise _refused("is not a token of this server's lists")
    if skip + skip_more > limits.SKIP:
        over = f"with the {skip:,} that page_token has still to pass over it is more than {limits.SKIP:,}"
        raise InvalidFields([Violation("skip", over)])
    return Position(arrival, None if due == _NO_DUE else to_time(due), skip + skip_more)


def queues_token(last: str) -> str:
    """The token of a list of queues that goes on after the queue `last`."""
    return _text(bytes([_QUEUES_VERSION]) + last.encode())


def last_queue(token: str) -> str:
    """The queue after which a list of queues goes on. InvalidFields for what is no such token."""
    raw = _bytes(token)
    if not 2 <= len(raw) <= limits.NAME_CHARACTERS + 1 or raw[0] != _QUEUES_VERSION or not raw.isascii():
        raise _refused("is not a token of this server's lists")
    return raw[1:].decode()


def schedules_token(queue: str, last: str) -> str:
    """The token of a list of a queue's schedules that goes on after the schedule `last`."""
    return _text(_SCHEDULES.pack(_SCHEDULES_VERSION, _queue_hash(queue)) + last.encode())


def last_schedule(queue: str, token: str) -> str:
    """The schedule after which a list of a queue's schedules goes on. InvalidFields for no token of this list."""
    raw = _bytes(token)
    begun, last = raw[: _SCHEDULES.size], raw[_SCHEDULES.size :]
    if not 1 <= len(last) <= limits.NAME_CHARACTERS or raw[0] != _SCHEDULES_VERSION or not last.isascii():
        raise _refused("is not a token of this server's lists")
    if begun[1:] != _queue_hash(queue):
        raise _refused("was given for another queue; keep that while you page")
    return last.decode()


def _queue_hash(queue: str) -> bytes:
    return hashlib.blake2b(queue.encode(), digest_size=8).digest()


def calendars_token(last: str) -> str:
    """The token of a list of calendars that goes on after the calendar `last`."""
    return _text(bytes([_CALENDARS_VERSION]) + last.encode())


def last_calendar(token: str) -> str:
    """The calendar after which a list of calendars goes on. InvalidFields for what is no such token."""
    raw = _bytes(token)
    if not 2 <= len(raw) <= limits.NAME_CHARACTERS + 1 or raw[0] != _CALENDARS_VERSION or not raw.isascii():
        raise _refused("is not a token of this server's lists")
    return raw[1:].decode()


def shared_limits_token(last: str) -> str:
    """The token of a list of shared limits that goes on after the limit `last`."""
    return _text(bytes([_SHARED_LIMITS_VERSION]) + last.encode())


def last_shared_limit(token: str) -> str:
    """The limit after which a list of shared limits goes on. InvalidFields for what is no such token."""
    raw = _bytes(token)
    if not 2 <= len(raw) <= limits.LIMIT_NAME_CHARACTERS + 1 or raw[0] != _SHARED_LIMITS_VERSION or not raw.isascii():
        raise _refused("is not a token of this server's lists")
    return raw[1:].decode()


def workers_token(last: str) -> str:
    """The token of a list of workers that goes on after the worker `last`."""
    return _text(bytes([_WORKERS_VERSION]) + last.encode())


def last_worker(token: str) -> str:
    """The worker after which a list of workers goes on. InvalidFields for what is no such token."""
    raw = _bytes(token, 2 * _WORKER_BYTES)
    if not 2 <= len(raw) <= _WORKER_BYTES + 1 or raw[0] != _WORKERS_VERSION:
        raise _refused("is not a token of this server's lists")
    try:
        return raw[1:].decode()
    except UnicodeDecodeError:
        raise _refused("is not a token of this server's lists") from None


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(token: str, most: int = 2 * limits.NAME_CHARACTERS) -> bytes:
    if len(token) > most:
        raise _refused("is not a token of this server's lists")
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:  # binascii.Error is one; letters beyond ASCII are another
        raise _refused("is not a token of this server's lists") from None
    if _text(raw) != token:  # the decoder passes over what it does not know
        raise _refused("is not a token of this server's lists")
    return raw


def _refused(why: str) -> InvalidFields:
    return InvalidFields([Violation("page_token", why)])
