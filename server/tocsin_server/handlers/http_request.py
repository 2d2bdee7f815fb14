"""Jobs that are HTTP requests: those of type http_request, and those of types with a push target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from tocsin import tracing
from tocsin.payloads import data_of
from tocsin.v1.payloads_pb2 import HttpRequest, RawPayload
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, HandedOver, RetryLater, UnfitResult
from tocsin.worker.payloads import encode_result
from tocsin.worker.registry import Handlers

from tocsin_server.domain import http_requests
from tocsin_server.domain.defaults import PushTarget
from tocsin_server.domain.http_requests import HTTP_REQUEST as TYPE
from tocsin_server.domain.http_requests import UnfitAddress, web_address
from tocsin_server.webhooks import signing
from tocsin_server.webhooks.answers import ACCEPTED, failure, lease_of
from tocsin_server.webhooks.errors import Unanswered
from tocsin_server.webhooks.sending import ANSWER_BYTES, Answer, Caller, OutgoingCall

#: Secrets that sign requests, by name: one, or two while it is rotated.
Secrets = Mapping[str, Sequence[str]]

#: The wire form of the right to an attempt, for whoever reports its outcome by WorkerService.
TokenOf = Callable[[JobContext], str]


class RequestFailed(Exception):
    """No answer, or one that may be another next time."""


class RequestRefused(DoNotRetry):
    """An answer that would be the same next time, or a request that cannot be made."""


class TargetBusy(RetryLater):
    """The other end said when it has time."""


class HttpRequestHandler:
    """Makes the requests of http_request jobs, and sends jobs to push targets."""

    def __init__(self, caller: Caller, secrets: Secrets, token_of: TokenOf | None = None) -> None:
        self._caller = caller
        self._secrets = secrets
        self._token_of = token_of

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve http_request."""
        handlers.on(TYPE)(self.send)

    async def send(self, job: JobContext) -> object:
        """Make the request that the job's payload is. Returns the answer's body: what its JSON says, else bytes."""
        request = job.payload
        if not isinstance(request, HttpRequest):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload {TYPE}")
        timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else None
        where = PushTarget(request.url, dict(request.headers), request.secret_ref, timeout)
        method = request.method or "POST"
        return await self._sent(job, where, method, request.body, "", f"{method} {request.url}")

    async def push(self, job: JobContext, target: PushTarget) -> object:
        """Send the job to a push target: its payload as JSON, or the bytes that it is."""
        body, content_type = _body_of(job)
        return await self._sent(job, target, "POST", body, content_type, "push")

    async def _sent(
        self, job: JobContext, where: PushTarget, method: str, body: bytes, content_type: str, what: str
    ) -> object:
        try:
            address = web_address(where.url)
        except UnfitAddress as error:
            raise RequestRefused(f"the URL {error}") from None
        secrets = self._secrets_of(where.secret_ref)
        headers = {
            **_trace_headers(job),
            **({"Content-Type": content_type} if content_type else {}),
            **_own(where.headers),
            **self._about(job, idempotency_key(job, what, body)),
            **({signing.HEADER: signing.signature(secrets, body, _now_seconds())} if secrets else {}),
        }
        call = OutgoingCall(method, address, headers, body, where.timeout or http_requests.DEFAULT_TIMEOUT)
        try:
            answer = await self._caller.send(call)
        except Unanswered as error:
            raise (RequestRefused if error.final else RequestFailed)(str(error)) from None
        return self._result(job, address.origin, answer, secrets)

    def _secrets_of(self, name: str) -> Sequence[str]:
        if not name:
            return ()
        if name not in self._secrets:
            raise RequestRefused(f"this server has no secret {name!r}: name it in http.secrets")
        return self._secrets[name]

    def _about(self, job: JobContext, key: str) -> dict[str, str]:
        about = {
            "Idempotency-Key": key,
            "Tocsin-Queue": job.queue,
            "Tocsin-Job-Id": quote(job.job_id, safe="!#$&'()*+,/:;=?@[]~"),
            "Tocsin-Type": job.type,
            "Tocsin-Attempt": str(job.attempt),
        }
        if self._token_of is not None:
            about["Tocsin-Token"] = self._token_of(job)
        return about

    def _result(self, job: JobContext, where: str, answer: Answer, secrets: Sequence[str]) -> object:
        failed = failure(where, answer, datetime.now(UTC), secrets)
        if failed is not None:
            if failed.final:
                raise RequestRefused(failed.message)
            if failed.retry_in is not None:
                raise TargetBusy(failed.retry_in, failed.message)
            raise RequestFailed(failed.message)
        if answer.status == ACCEPTED:
            lease = lease_of(answer)
            raise HandedOver(lease if job.timeout is None else min(lease, job.timeout))
        try:
            return result_of(answer)
        except UnfitResult:
            job.progress(
                1.0, f"{where} answers {answer.status}, with more than the {ANSWER_BYTES:,} bytes that are kept"
            )
            return None


def _trace_headers(job: JobContext) -> dict[str, str]:
    span = tracing.header(job.trace)
    if span is None:
        return {}
    return {"traceparent": span.traceparent, **({"tracestate": span.tracestate} if span.tracestate else {})}


def idempotency_key(job: JobContext, what: str, body: bytes) -> str:
    """The same for all attempts of a job as it stands; another one for a job that was made anew under its id, or whose
    request was changed: the other end must not take that for a repeat."""
    made = f"{job.queue}\n{job.job_id}\n{job.create_time.isoformat()}\n{what}\n"
    return hashlib.sha256(made.encode() + body).hexdigest()[:32]


def result_of(answer: Answer) -> object:
    """What is kept of a body: what its JSON says, or the bytes with their content type; None: it is empty. UnfitResult
    where it is too long: a part of it would be no JSON."""
    if answer.body is None:
        raise UnfitResult("it is too long")
    if not answer.body:
        return None
    content_type = answer.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            value: object = json.loads(answer.body)
            encode_result(value)  # a large number, a deep list: as bytes it is kept all the same
        except (ValueError, RecursionError, UnfitResult):
            pass
        else:
            return value
    raw = RawPayload(content_type=content_type[:255], body=answer.body)
    encode_result(raw)
    return raw


def _body_of(job: JobContext) -> tuple[bytes, str]:
    payload = job.payload
    if payload is None:
        return b"", ""
    if isinstance(payload, bytes):
        return payload, job.content_type or "application/octet-stream"
    said = json.dumps(data_of(payload), ensure_ascii=False, separators=(",", ":"))
    return said.encode("utf-8", "replace"), "application/json"


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that the job or its queue names. What was scheduled was checked; this is for what came otherwise."""
    unfit = {name for name, _ in http_requests.unfit_headers(headers)}
    if unfit:
        raise RequestRefused(f"the header {sorted(unfit)[0]!r} cannot be sent")
    return dict(headers)


def _now_seconds() -> int:
    return int(datetime.now(UTC).timestamp())
