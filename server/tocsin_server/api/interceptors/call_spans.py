"""A span for each call that is over within its deadline, within the trace of who makes it.

Attributes are those of OpenTelemetry's conventions for gRPC. Streams that stay open for hours have none, and neither
has what workers ask for again and again: the spans of a worker are its attempts (tocsin/worker/attempt_spans.py).
"""

from __future__ import annotations

from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tocsin_server.api.interceptors.call import Call, MethodKind, Work
from tocsin_server.api.interceptors.call_log import code_of

_OF_WORKERS = "tocsin.v1.WorkerService"
#: What says that the server is at fault; other codes are the caller's, and no error of the span.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_CODES = {code.name: code.value[0] for code in grpc.StatusCode}


class CallSpans:
    """Records them with the tracer provider that stands when it is made."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("tocsin")
        self._propagator = TraceContextTextMapPropagator()

    def around(self, work: Work) -> Work:
        """Around all that may refuse the call."""

        async def done(call: Call) -> bytes | None:
            service, _, method = call.method.path.lstrip("/").partition("/")
            if call.method.kind is not MethodKind.CALL or service == _OF_WORKERS:
                return await work(call)
            carrier: dict[str, Any] = dict(call.context.invocation_metadata() or ())
            with self._tracer.start_as_current_span(
                f"{service}/{method}",
                self._propagator.extract(carrier),
                trace.SpanKind.SERVER,
                {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
                record_exception=False,  # its words may quote a request
                set_status_on_exception=False,
            ) as span:
                try:
                    return await work(call)
                finally:
                    code = code_of(call)
                    span.set_attribute("rpc.grpc.status_code", _CODES.get(code, 2))
                    if code in _FAULTS:
                        span.set_status(trace.StatusCode.ERROR, code)

        return done
