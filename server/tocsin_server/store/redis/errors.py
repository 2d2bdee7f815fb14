"""What redis-py raises, in the words of the domain: did it act, did it not, or is that unknown."""

from __future__ import annotations

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    TimeoutError,
    TryAgainError,
)

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError


class StoreUnfit(Exception):
    """The store answers, but must not be used as it is. One line: what is wrong and what to do. Exit code 2."""


class NotSent(ConnectionError):
    """The failure came before a byte of the command was written."""


# Answers (and failures before any answer was asked for) after which it is certain that the command did not act.
_DID_NOT_ACT = (
    NotSent,
    MaxConnectionsError,
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    BusyLoadingError,
    ReadOnlyError,  # a primary that became a replica
    ClusterDownError,  # MASTERDOWN is one, too
    TryAgainError,
    ClusterError,  # redirected too often
    RedisClusterException,  # the cluster's slots could not be learned
)
# The same, for answers that redis-py has no class for.
_REFUSALS = ("BUSY ", "NOREPLICAS ", "MASTERDOWN ", "UNKILLABLE ")
_NO_ROOM = ("OOM ", "MISCONF ")


def domain_error(error: Exception, *, read_only: bool) -> TocsinError | None:
    """The refusal that `error` means, None where it is none (a script's own answer, NOSCRIPT, a bug).

    read_only: the command changes nothing, so that "it may have acted" is no more than "it was not read".
    """
    detail = str(error) or type(error).__name__
    if isinstance(error, OutOfMemoryError) or detail.startswith(_NO_ROOM):
        return StoreFull(detail)
    if isinstance(error, _DID_NOT_ACT) or detail.startswith(_REFUSALS):
        return StoreAway(detail)
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return StoreAway(detail) if read_only else OutcomeUnknown(detail)
    return None
