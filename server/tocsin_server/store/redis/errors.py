"""What redis-py raises, in the words of the domain: did it act, did it not, or is that unknown."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

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
from tocsin_server.store.unfit import StoreUnfit


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
_DOCS = "docs/redis.md"
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


def unfit(error: BaseException) -> StoreUnfit | None:
    """Where waiting helps nobody: what is wrong with the address or its user, without secrets. Else None."""
    reasons = list(_chain(error))
    for reason in reasons:
        if isinstance(reason, NoPermissionError):
            return StoreUnfit(f"the store's user may not do all that is needed ({reason}): give it the ACL of {_DOCS}")
        if isinstance(reason, (AuthenticationError, AuthorizationError)):
            return StoreUnfit(f"the store refuses the user or the password of its address ({reason})")
        if isinstance(reason, ssl.SSLCertVerificationError):
            return StoreUnfit(
                f"the store's certificate is not trusted ({reason.verify_message}): "
                "name the authority that signed it, ?ssl_ca_certs=FILE in the store's address"
            )
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return StoreUnfit(
                f"TLS with the store fails ({reason.reason or reason}): see the options ssl_... in {_DOCS}"
            )
    if any("Cluster mode is not enabled" in str(reason) for reason in reasons):
        return StoreUnfit("the store is no cluster: its address must begin with redis:// or rediss://")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
