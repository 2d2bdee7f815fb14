"""What pymongo raises, in the words of the domain: did it act, did it not, or is that unknown.

A caller is told a plain sentence; what MongoDB or the driver said stands in the cause, which is for the log.
"""

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
_NOT_PRIMARY = "the server that was asked is not the primary, or is shutting down"
_NO_SPACE = "its space is used up"
_TOO_SLOW = "it took too long"
#: A change stream cannot go on from where it was.
STREAM_LOST = frozenset({136, 280, 286})


def domain_error(error: PyMongoError, *, read_only: bool) -> TocsinError | None:
    """The refusal that `error` means, None where it is none (a duplicate key, a bug).

    read_only: the command changes nothing, so that "it may have acted" is no more than "it was not read".
    """
    if isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError, ConfigurationError)):
        return StoreAway("no server that takes writes can be reached")
    if isinstance(error, BulkWriteError):
        return _of_bulk(error)
    if isinstance(error, DuplicateKeyError):
        return None
    if isinstance(error, WriteConcernError):  # written, but not yet by a majority
        return OutcomeUnknown("no majority of its servers has confirmed the write")
    if isinstance(error, NotPrimaryError):
        return StoreAway(_NOT_PRIMARY)
    if isinstance(error, ConnectionFailure):
        if _not_sent(error):
            return StoreAway("no connection to it can be made")
        return StoreAway("its answer did not come") if read_only else OutcomeUnknown("the connection was lost")
    if isinstance(error, OperationFailure):
        if error.code in _NO_ROOM or (error.code == _HOSTED and "space quota" in str(error)):
            return StoreFull(_NO_SPACE)
        if error.code in NOT_ALLOWED:
            return StoreAway("it refuses the user of this server")
        if error.code in _REFUSED:
            return StoreAway(_NOT_PRIMARY)
        if error.timeout:
            return StoreAway(_TOO_SLOW) if read_only else OutcomeUnknown(_TOO_SLOW)
    return None


def _of_bulk(error: BulkWriteError) -> TocsinError | None:
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        return OutcomeUnknown("no majority of its servers has confirmed the write")
    codes = {one["code"] for one in details.get("writeErrors", ())}
    if codes & (_NO_ROOM | {_HOSTED}):
        acted = details.get("nInserted", 0) + details.get("nModified", 0) + details.get("nRemoved", 0)
        return OutcomeUnknown(_NO_SPACE) if acted else StoreFull(_NO_SPACE)
    return None


def _not_sent(error: ConnectionFailure) -> bool:
    """Whether the connection could not even be made."""
    return isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError))
