"""What pymongo raises, in the words of the domain: did it act, did it not, or is that unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError

DUPLICATE = 11000
_NO_ROOM = frozenset({14031})  # OutOfDiskSpace
_HOSTED = 8000  # a hosted server's own refusals: of a login, or of writes where its space is used up
#: Not logged in, or not allowed.
NOT_ALLOWED = frozenset({13, 18, _HOSTED})
#: The server turned the command away before it acted: no login, not allowed, shutting down, not or no longer primary.
_REFUSED = frozenset({13, 18, 91, 189, 10058, 10107, 11600, 11602, 13435, 13436})
#: A change stream cannot go on from where it was.
STREAM_LOST = frozenset({136, 280, 286})


def domain_error(error: PyMongoError, *, read_only: bool) -> TocsinError | None:
    """The refusal that `error` means, None where it is none (a duplicate key, a bug).

    read_only: the command changes nothing, so that "it may have acted" is no more than "it was not read".
    """
    detail = _short(error)
    if isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError, ConfigurationError)):
        return StoreAway(detail)
    if isinstance(error, BulkWriteError):
        return _of_bulk(error, detail)
    if isinstance(error, DuplicateKeyError):
        return None
    if isinstance(error, WriteConcernError):  # written, but not yet by a majority
        return OutcomeUnknown(detail)
    if isinstance(error, NotPrimaryError):
        return StoreAway(detail)
    if isinstance(error, ConnectionFailure):
        return StoreAway(detail) if read_only or _not_sent(error) else OutcomeUnknown(detail)
    if isinstance(error, OperationFailure):
        if error.code in _NO_ROOM or (error.code == _HOSTED and "space quota" in detail):
            return StoreFull(detail)
        if error.code in _REFUSED or error.code == _HOSTED:
            return StoreAway(detail)
        if error.timeout:
            return StoreAway(detail) if read_only else OutcomeUnknown(detail)
    return None


def _of_bulk(error: BulkWriteError, detail: str) -> TocsinError | None:
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        return OutcomeUnknown(detail)
    codes = {one["code"] for one in details.get("writeErrors", ())}
    if codes & (_NO_ROOM | {_HOSTED}):
        acted = details.get("nInserted", 0) + details.get("nModified", 0) + details.get("nRemoved", 0)
        return OutcomeUnknown(detail) if acted else StoreFull(detail)
    return None


def _not_sent(error: ConnectionFailure) -> bool:
    """Whether the connection could not even be made."""
    return isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError))


def _short(error: PyMongoError) -> str:
    """The first sentence of what it says: the rest is the driver's picture of the topology, and long."""
    text = str(error)
    for end in (", full error:", ", Timeout:", ", Topology Description:", " (configured timeouts:"):
        text = text.partition(end)[0]
    return text[:300] or type(error).__name__
