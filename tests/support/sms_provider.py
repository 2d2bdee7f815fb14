"""A real HTTP server on loopback in the place of an SMS provider: checks and keeps what it gets, answers as told."""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

ACCOUNT = "AC00112233445566778899aabbccddeeff"
TOKEN = "t0ken:with/odd@signs"
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to one request, in place of the usual 201."""

    status: int
    body: object = field(default_factory=dict)  # bytes are sent as they are, all else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False  # nothing is said at all
    cut: bool = False  # the connection ends without an answer


@dataclass(frozen=True, slots=True)
class Posted:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form; each stands there once."""
        fields = parse_qs(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        assert all(len(values) == 1 for values in fields.values())
        return {name: values[0] for name, values in fields.items()}

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object in its body."""
        said: dict[str, Any] = json.loads(self.body)
        return said


@dataclass(slots=True)
class SmsProvider:
    """Answers in `answers` are used up one a request; then all is taken that is asked as Twilio wants it asked."""

    answers: deque[Answer] = field(default_factory=deque)
    posted: list[Posted] = field(default_factory=list)
    port: int = 0
    taken: int = 0
    hung: threading.Event = field(default_factory=threading.Event)  # set when the server goes: silent ones end

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def numbers(self) -> list[str]:
        """Whom Twilio's form was asked to send to, in order, whatever was answered."""
        return [posted.form["To"] for posted in self.posted]

    def answer(self, posted: Posted) -> Answer:
        """The next answer."""
        self.posted.append(posted)
        if self.answers:
            return self.answers.popleft()
        trouble = _trouble(posted)
        if trouble:
            return Answer(400, {"code": 20001, "message": trouble, "status": 400})
        self.taken += 1
        return Answer(201, {"sid": f"SM{self.taken:032}", "status": "queued", "error_code": None})


def _trouble(posted: Posted) -> str:
    """What Twilio would not take of a request to its path; others are taken whatever they are."""
    if not posted.path.startswith("/2010-04-01/"):
        return ""
    if posted.path != PATH:
        return f"no such path: {posted.path}"
    if posted.headers.get("authorization") != "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode():
        return "who are you?"
    if posted.headers.get("content-type") != "application/x-www-form-urlencoded":
        return "this is no form"
    sender = {"From", "MessagingServiceSid"} & posted.form.keys()
    if len(sender) != 1 or posted.form.keys() - sender != {"To", "Body"}:
        return f"wrong fields: {sorted(posted.form)}"
    return ""


@contextmanager
def sms_provider() -> Iterator[SmsProvider]:
    """A provider on 127.0.0.1, with a thread a connection."""
    provider = SmsProvider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = provider.answer(
                Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            if answer.silent:
                provider.hung.wait()
            if answer.silent or answer.cut:
                self.close_connection = True
                return
            said = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(said)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.hung.set()
        server.shutdown()
        thread.join()
        server.server_close()
