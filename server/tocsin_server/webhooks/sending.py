"""One request, from its parts to the answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import httpcore2
from httpcore2 import AsyncConnectionPool

from tocsin_server.domain import limits
from tocsin_server.domain.http_requests import WebAddress
from tocsin_server.version import VERSION
from tocsin_server.webhooks.connecting import GuardedBackend
from tocsin_server.webhooks.errors import NoAnswer, Unreachable
from tocsin_server.webhooks.guard import Guard

#: What is kept of an answer. More of it is not even read.
ANSWER_BYTES = limits.RESULT_BYTES

#: Without an encoding, so that a small answer cannot unpack to a large one.
_DEFAULT_HEADERS = {"User-Agent": f"tocsin/{VERSION}", "Accept": "*/*", "Accept-Encoding": "identity"}

_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, ssl.SSLError, OSError)


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A request to make. timeout: from looking the name up to the end of the answer."""

    method: str
    address: WebAddress
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is None where it is longer than ANSWER_BYTES."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case; of several the first
    body: bytes | None = field(repr=False)


class Caller:
    """Makes requests, each over a connection of its own: so each looks its name up and is checked anew, and none is
    sent into a connection that the other end has just closed. Follows no redirects and knows no proxy.

    May be used on any event loop. `tls` is for tests; None: the system's certificates, or SSL_CERT_FILE's.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        # Reading the system's certificates takes longer than most requests: once, here.
        self._tls = tls or ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    async def send(self, call: OutgoingCall) -> Answer:
        """The answer, whatever it says. AddressRefused, NameUnknown, Unreachable, NoAnswer."""
        where = call.address.origin
        try:
            async with asyncio.timeout(call.timeout.total_seconds()):
                return await self._answer(call)
        except TimeoutError:
            raise NoAnswer(f"{where} did not answer within {call.timeout.total_seconds():g} s") from None
        except _BROKEN as error:  # without its cause: what a library says may quote more than may be shown
            raise Unreachable(f"{where} {_trouble(error)}") from None

    async def _answer(self, call: OutgoingCall) -> Answer:
        address = call.address
        headers = {**_DEFAULT_HEADERS, **call.headers}
        url = httpcore2.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target.encode("ascii")
        )
        # Whoever asks for no body gets none: a GET with a length confuses some.
        content = call.body if call.body or call.method not in ("GET", "HEAD", "DELETE") else None
        async with (
            AsyncConnectionPool(self._tls, network_backend=GuardedBackend(self._guard), max_connections=1) as pool,
            pool.stream(
                call.method,
                url,
                headers=[("Host", address.authority), *headers.items()],
                content=content,
            ) as response,
        ):
            pieces, size = [], 0
            async for piece in response.aiter_stream():
                pieces.append(piece)
                size += len(piece)
                if size > ANSWER_BYTES:
                    break
            found: dict[str, str] = {}
            for name, value in response.headers:
                found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
            return Answer(response.status, found, b"".join(pieces) if size <= ANSWER_BYTES else None)


def _trouble(error: Exception) -> str:
    cause = error
    while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    cause = cause.__context__ if isinstance(cause.__context__, ssl.SSLError) else cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a certificate that does not hold: {cause.verify_message}"
    if isinstance(error, httpcore2.ConnectError):
        return f"takes no connection ({type(cause).__name__})"
    return f"broke off ({type(error).__name__})"
