"""What redis-py raises, in the words of the domain: did it act, did it not, or is that unknown.

A caller is told a plain sentence. What the store or redis-py said (addresses, hosts, inner names) stands in the cause,
which is for the log.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

from redis.asyncio.sentinel import MasterNotFoundError
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
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError
from tocsin_server.store.interface import StoreUnfit


class NotSent(ConnectionError):
    """The failure came before a byte of the command was written."""


class SlotMoves(ResponseError):
    """The key's slot is on its way to another node of the cluster, which may have only part of a queue's keys."""


_UNREACHABLE = "no connection to it can be made"
# Answers (and failures before any answer was asked for) after which it is certain that the command did not act, and
# what they say in one sentence. The first that fits counts.
_DID_NOT_ACT: tuple[tuple[type[Exception], str], ...] = (
    (MasterNotFoundError, "its sentinels name no primary that is up"),
    (BusyLoadingError, "it is still loading its data"),
    (AuthenticationError, "it refuses the user or the password of this server"),
    (AuthorizationError, "it refuses the user or the password of this server"),
    (NoPermissionError, "the user of this server may not do all that is needed"),
    (ReadOnlyError, "it is a read-only replica at present"),
    (SlotMoves, "the queue is on its way to another node of the cluster"),
    (MaxConnectionsError, "all connections to it are in use"),
    (ssl.SSLCertVerificationError, "its TLS certificate is not trusted"),
    (ssl.SSLError, "TLS with it fails"),
    (NotSent, _UNREACHABLE),
    (ClusterDownError, "part of the cluster is down"),  # MASTERDOWN is one, too
    (TryAgainError, "the queue is on its way to another node of the cluster"),
    (ClusterError, "the cluster sends from node to node"),  # redirected too often
    (RedisClusterException, "the nodes of the cluster cannot be learned"),
)
# The same, for answers that redis-py has no class for: by their first word.
_REFUSALS = {
    "BUSY": "it is busy with a long script of somebody else",
    "UNKILLABLE": "it is busy with a long script of somebody else",
    "NOREPLICAS": "too few replicas listen to it",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "READONLY": "it is a read-only replica at present",
}
_NO_ROOM = {
    "OOM": "it has used up the memory it may use",
    "MISCONF": "it cannot write to its disk",
}
_DOCS = "docs/redis.md"
# How redis-py's pipelines begin what a server said, which then stands in quotes where it is a single server's.
_OF_PIPELINE = re.compile(r"Command # \d+ \(.*?\) of pipeline caused error: (?:\(['\"])?", re.DOTALL)


def domain_error(error: Exception, *, read_only: bool) -> TocsinError | None:
    """The refusal that `error` means, None where it is none (a script's own answer, NOSCRIPT, a bug).

    read_only: the command changes nothing, so that "it may have acted" is no more than "it was not read".
    """
    word = _first_word(error)
    if isinstance(error, OutOfMemoryError) or word in _NO_ROOM:
        return StoreFull(_NO_ROOM.get(word, _NO_ROOM["OOM"]))
    for reason in _told(error):
        if said := next((said for kind, said in _DID_NOT_ACT if isinstance(reason, kind)), None):
            return StoreAway(said)
    if word in _REFUSALS:
        return StoreAway(_REFUSALS[word])
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return StoreAway("its answer did not come") if read_only else OutcomeUnknown("the connection was lost")
    return None


def _first_word(error: Exception) -> str:
    text = str(error)
    if prefix := _OF_PIPELINE.match(text):
        text = text[prefix.end() :]
    return text.partition(" ")[0]


def _told(error: Exception) -> Iterator[BaseException]:
    """The error; before it, where that came before anything was sent, what it came from."""
    if isinstance(error, NotSent):
        yield from (reason for reason in _chain(error) if not isinstance(reason, NotSent))
    yield error


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
