"""Rules on payload http_request, and on the push targets of queues, which say the same of where to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import payloads_pb2, queue_pb2

from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import http_requests
from tocsin_server.domain.http_requests import UnfitAddress

_MILLISECOND = timedelta(milliseconds=1)


class _SaysWhere(Protocol):
    """What both messages have."""

    url: str
    secret_ref: str

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def timeout(self) -> Duration: ...


def check_http_request(wrong: Violations, path: str, request: payloads_pb2.HttpRequest) -> None:
    """A request to make."""
    _check_where(wrong, path, request)
    if request.HasField("timeout"):
        _check_timeout(wrong, path, request.timeout)
    if request.method and request.method not in http_requests.METHODS:
        wrong.add(f"{path}.method", f"is none of {', '.join(http_requests.METHODS)}")
    if len(request.body) > http_requests.BODY_BYTES:
        most = http_requests.BODY_BYTES
        wrong.add(f"{path}.body", f"has {len(request.body):,} bytes, at most {most:,} are allowed")


def check_target(wrong: Violations, path: str, target: queue_pb2.PushTarget) -> None:
    """Where a queue's jobs are sent."""
    _check_where(wrong, path, target)
    if target.HasField("timeout"):
        _check_timeout(wrong, path, target.timeout)


def _check_where(wrong: Violations, path: str, said: _SaysWhere) -> None:
    if not said.url:
        wrong.add(f"{path}.url", "is needed")
    else:
        try:
            http_requests.web_address(said.url)
        except UnfitAddress as error:
            wrong.add(f"{path}.url", str(error))
    if wrong.count(f"{path}.headers", said.headers, http_requests.HEADERS):
        for name, why in http_requests.unfit_headers(said.headers):
            shown = name if name.isascii() and name.isprintable() else repr(name)
            wrong.add(f"{path}.headers[{shown}]", why)
    if said.secret_ref and not http_requests.SECRET_NAME.match(said.secret_ref):
        wrong.add(f"{path}.secret_ref", "is no name of a secret: 1 to 100 of A-Z a-z 0-9 . _ - are allowed")


def _check_timeout(wrong: Violations, path: str, timeout: Duration) -> None:
    wrong.span(f"{path}.timeout", timeout, _MILLISECOND, http_requests.MAX_TIMEOUT, "1 ms to 1 h")
