"""Tokens of dry runs: the moment that was counted, and of which request. Opaque to callers.

A token gives no right: who acts with one must be allowed to, and names all that it is about. What a forged one could
say is another moment, of jobs that its caller may act upon anyway.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

from tocsin.v1 import payloads_pb2

from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import ActionMoment
from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.times import time_to_ms, to_time

_HEAD = struct.Struct(">B16s8sqqq")  # version, hash of the request, random bytes, time in ms, arrival, matched
_VERSION = 1
_MOST = 600  # characters; a cursor has some fifty
_LAST_MS = time_to_ms(limits.LAST_TIME)


def bulk_token(wish: payloads_pb2.BulkAction, moment: ActionMoment) -> str:
    """The token of a dry run of `wish`. No two are alike."""
    matched = -1 if moment.matched is None else moment.matched
    time = time_to_ms(moment.time)
    head = _HEAD.pack(_VERSION, _hash(wish), secrets.token_bytes(8), time, moment.arrival, matched)
    return urlsafe_b64encode(head + moment.cursor.encode()).decode().rstrip("=")


def bulk_moment(wish: payloads_pb2.BulkAction, token: str) -> ActionMoment:
    """What a token was given for. InvalidFields for what is none of this request."""
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4)) if len(token) <= _MOST else b""
        version, of_wish, _, time, arrival, matched = _HEAD.unpack(raw[: _HEAD.size])
        cursor = raw[_HEAD.size :].decode()
    except (ValueError, struct.error):
        raise _refused("is not the token of a dry run") from None
    if version != _VERSION or not 0 <= time <= _LAST_MS or not 0 <= arrival < 1 << 48 or matched < -1:
        raise _refused("is not the token of a dry run")
    if of_wish != _hash(wish):
        raise _refused("was given for another queue, filter, action or max_jobs; repeat those of its dry run")
    return ActionMoment(to_time(time), arrival, cursor, None if matched < 0 else matched)


def action_id(token: str) -> str:
    """The id of the job that acts with a token: the same each time, so that a call made again begins no second one."""
    return "bulk-" + hashlib.blake2b(token.encode(), digest_size=16).hexdigest()


def _hash(wish: payloads_pb2.BulkAction) -> bytes:
    return hashlib.blake2b(wish.SerializeToString(deterministic=True), digest_size=16).digest()


def _refused(why: str) -> InvalidFields:
    return InvalidFields([Violation("token", why)])
