"""An OTLP collector that remembers the spans it is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from support.eventually import until


@dataclass(frozen=True)
class Span:
    """A span as it was told."""

    service: str
    name: str
    kind: str  # "SERVER", "CONSUMER", ...
    trace: str
    span: str
    parent: str  # empty: it is the root of its trace
    links: tuple[tuple[str, str], ...]  # trace and span of each
    attributes: Mapping[str, object]
    error: str  # what its status says where that is an error; empty: it is none


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans. `raw` has all that was sent, byte for byte."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self.endpoint = ""
        self._lock = threading.Lock()

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        with self._lock:
            self.raw += request.SerializeToString()
            self.spans += _spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def environment(self) -> dict[str, str]:
        """What makes OpenTelemetry in any language send its spans here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def until(self, what: str, of: Callable[[Span], bool], count: int = 1) -> list[Span]:
        """Those spans, once there are as many."""

        def found() -> list[Span] | None:
            with self._lock:
                spans = [span for span in self.spans if of(span)]
            return spans if len(spans) >= count else None

        return until(found, within=30, what=what) or []


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    server = grpc.server(ThreadPoolExecutor(2))
    collector = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                attributes = {
                    one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes
                }
                failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
                yield Span(
                    resource["service.name"],
                    span.name,
                    trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    attributes,
                    span.status.message or "error" if failed else "",
                )
