"""Traces by OpenTelemetry (`pip install 'tocsin[otel]'`): what a job carries of the trace that scheduled it.

A job bears the W3C context of the span in which it was scheduled. Each of its attempts is a span of a trace of its own,
*linked* to that one: a job may run days later and many times, and a trace that it was nested in would never end.
Neither payloads nor baggage are copied. A program that has not loaded OpenTelemetry pays nothing for it here.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import NamedTuple

__all__ = ["NoOpenTelemetry", "TraceContext", "current", "header", "set_up"]

_TRACE_STATE_CHARACTERS = 512  # what W3C Trace Context asks to be passed on at least; what is longer is left out


class TraceContext(NamedTuple):
    """A span, as the W3C Trace Context recommendation writes it in HTTP headers of these names."""

    traceparent: str
    tracestate: str = ""


class NoOpenTelemetry(RuntimeError):
    """OpenTelemetry is not installed."""


def _loaded() -> ModuleType | None:
    # Who has spans has loaded it; loading it for others would take 40 ms.
    return sys.modules.get("opentelemetry.trace")


def current() -> TraceContext | None:
    """The span that the caller is in; None where there is none."""
    trace = _loaded()
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    state = span.trace_state.to_header()
    return TraceContext(
        f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}",
        state if len(state) <= _TRACE_STATE_CHARACTERS else "",
    )


def header(submitted: TraceContext | None) -> TraceContext | None:
    """What to tell another program that works for a job: the span of its attempt, else the one that scheduled it."""
    return current() or submitted


def set_up(service: str) -> None:
    """Send spans by OTLP from now on, as the variables OTEL_* of the OpenTelemetry specification say: without any, over
    gRPC in plaintext to localhost:4317. `service`: its name where OTEL_SERVICE_NAME does not say. Spans wait in memory,
    2,048 at most, and what a collector does not take is dropped. Raises NoOpenTelemetry."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise NoOpenTelemetry("tracing needs OpenTelemetry: pip install 'tocsin[otel]'") from error
    attributes = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
