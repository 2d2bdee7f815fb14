"""A real HTTP server on loopback that jobs are sent to: keeps what it gets, answers as told."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said to one request."""

    status: int = 200
    body: object = b""  # bytes are sent as they are, all else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False  # nothing is said at all, until the server goes
    cut: bool = False  # the connection ends without an answer
    endless: bool = False  # the body never ends


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        """What its body says."""
        return json.loads(self.body)


@dataclass(slots=True)
class HttpTarget:
    """Replies in `replies` are used up one a request; then it is 200 without a body. `on_request` goes before both."""

    replies: deque[Reply] = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    on_request: Callable[[Received], Reply | None] = lambda received: None
    host: str = "127.0.0.1"
    port: int = 0
    secure: bool = False
    going: threading.Event = field(default_factory=threading.Event)
    _news: queue.SimpleQueue[Received] = field(default_factory=queue.SimpleQueue)

    @property
    def url(self) -> str:
        """Its address, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def next(self, within: float = _WITHIN) -> Received:
        """The next request, in the order of arrival; waits for it."""
        return self._news.get(timeout=within)

    def reply(self, received: Received) -> Reply:
        """Keep a request, and say what is answered."""
        self.received.append(received)
        said = self.on_request(received)
        self._news.put(received)
        if said is not None:
            return said
        return self.replies.popleft() if self.replies else Reply()


@contextmanager
def http_target(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[HttpTarget]:
    """A target on loopback, with a thread a connection."""
    target = HttpTarget(host=host, secure=tls is not None)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = target.reply(Received(self.command, self.path, headers, body))
            if reply.silent:
                target.going.wait()
            if reply.silent or reply.cut:
                self.close_connection = True
                return
            self._say(reply)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def _say(self, reply: Reply) -> None:
            said = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            kind = {} if isinstance(reply.body, bytes) else {"Content-Type": "application/json"}
            length = {} if reply.endless else {"Content-Length": str(len(said))}
            self.send_response(reply.status)
            for name, value in {**kind, **length, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                self.wfile.write(said)
                while reply.endless and not target.going.is_set():
                    self.wfile.write(b"x" * 65_536)
            except OSError:  # who asked has heard enough
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    class Listener(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: a handshake that fails is some tests' aim."""

    server = Listener((host, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    target.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield target
    finally:
        target.going.set()
        server.shutdown()
        thread.join()
        server.server_close()
