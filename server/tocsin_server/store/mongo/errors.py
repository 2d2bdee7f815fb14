"""What pymongo raises, in the words of the domain: did it act, did it not, or is that unknown.

"Nothing was sent" is said only where that is certain: no command was handed to a connection, or the server itself says
that no write was performed. All else may have acted, also where a primary steps down: what came first in the command
stands. A caller is told a plain sentence; what MongoDB or the driver said stands in the cause, for the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    ConfigurationError,
    ConnectionFailure,
    InvalidName,
    InvalidOperation,
    InvalidURI,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError

DUPLICATE = 11000
BAD_VALUE = 2
OTHER_OPTIONS = 85  # IndexOptionsConflict
_NO_ROOM = frozenset({14031})  # OutOfDiskSpace
_HOSTED = 8000  # a hosted server's own refusals: of a login, or of writes where its space is used up
#: Not logged in, or not allowed: said before anything is done.
NOT_ALLOWED = frozenset({13, 18, _HOSTED})
#: A command that no server will ever take, a fault of ours, or an answer that the caller of the command looks for: bad
#: value, failed to parse, type mismatch, no such command, cannot create index, invalid options, index options and keys
#: conflict, document too large, and fields or stages that are not known.
_UNFIT = frozenset({BAD_VALUE, 9, 14, 59, 67, 72, OTHER_OPTIONS, 86, 10334, 17419, 17420, 40324, 40414, 40415})
_FAULTS = (CollectionInvalid, InvalidName, InvalidOperation, InvalidURI)  # likewise, seen by the driver
#: Shutting down, not or no longer primary.
_NOT_PRIMARY = frozenset({91, 189, 10058, 10107, 11600, 11602, 13435, 13436})
#: A change stream cannot go on from where it was.
STREAM_LOST = frozenset({136, 280, 286})

_NO_SPACE = "its space is used up"
_NO_MAJORITY = "no majority of its servers has confirmed the write"


def domain_error(error: PyMongoError, *, sent: int | None) -> TocsinError | None:
    """The refusal that `error` means; None where it is none: a duplicate key, or what no repeat mends.

    sent: how many commands were handed to a connection, each attempt of the driver's counted. None: they change
    nothing, so that "it may have acted" is no more than "it was not read".
    """
    if isinstance(error, BulkWriteError):
        return _of_bulk(error, sent)
    code = error.code if isinstance(error, OperationFailure) else None
    if code == DUPLICATE or code in _UNFIT or isinstance(error, _FAULTS):
        return None
    if isinstance(error, WriteConcernError):  # written, but not yet by a majority
        return StoreAway(_NO_MAJORITY) if sent is None else OutcomeUnknown(_NO_MAJORITY)
    repeated = sent is not None and sent > 1  # the error is that of the last attempt, an earlier one may have acted
    if code in _NO_ROOM or (code == _HOSTED and "space quota" in str(error)):
        return OutcomeUnknown(_NO_SPACE) if repeated else StoreFull(_NO_SPACE)
    turned_away = code in NOT_ALLOWED and not repeated
    if not sent or turned_away or error.has_error_label("NoWritesPerformed"):
        return StoreAway(_reason(error, code))
    return OutcomeUnknown(_reason(error, code))


def _reason(error: PyMongoError, code: int | None) -> str:
    if isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError, ConfigurationError)):
        return "no server that takes writes can be reached"
    if isinstance(error, NotPrimaryError) or code in _NOT_PRIMARY:
        return "the server that was asked is not the primary, or is shutting down"
    if isinstance(error, ConnectionFailure):
        never = isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError))
        return "no connection to it can be made" if never else "the connection was lost, or its answer did not come"
    if code in NOT_ALLOWED:
        return "it refuses the user of this server"
    return "it took too long" if error.timeout else "it could not do it now"


def _of_bulk(error: BulkWriteError, sent: int | None) -> TocsinError | None:
    """Of several writes in one command, each of which failed or acted by itself."""
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        return OutcomeUnknown(_NO_MAJORITY)
    codes = {one["code"] for one in details.get("writeErrors", ())} - {DUPLICATE}
    if codes <= _UNFIT:
        return None
    acted = sum(details.get(name, 0) for name in ("nInserted", "nMatched", "nUpserted", "nRemoved"))
    full = codes & _NO_ROOM or (_HOSTED in codes and "space quota" in str(details))
    if full and not acted and (sent is None or sent < 2):
        return StoreFull(_NO_SPACE)
    return OutcomeUnknown(_NO_SPACE if full else "it could not do all of it now")
