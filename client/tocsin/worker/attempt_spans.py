"""A span for each attempt, where the program has set up OpenTelemetry: see tocsin/tracing.py.

Names and attributes are those of OpenTelemetry's conventions for messaging systems; what is Tocsin's own begins with
"tocsin.". An error's type stands in the span, its words do not: they may hold what payloads hold.

What a program has hung onto its spans, processors above all, may raise. An attempt has no part in that: it goes on
without a span, and each kind of error is logged once.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any, NamedTuple

from tocsin.tracing import TraceContext
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

logger = logging.getLogger("tocsin.worker")

_told: set[type[Exception]] = set()


class AttemptSpan(NamedTuple):
    """A span under way, and what makes it the current one."""

    span: Any
    token: Any


def begin(job: LeasedJob) -> AttemptSpan | None:
    """Begin the span of an attempt and make it the current one here. None where nobody records spans."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        nobody = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
        return None if isinstance(trace.get_tracer_provider(), nobody) else _begun(job, trace)
    except Exception as error:
        _tell(error)
        return None


def _begun(job: LeasedJob, trace: ModuleType) -> AttemptSpan:
    from opentelemetry import context

    submitted = None if job.trace is None else _span_context(job.trace)
    span = trace.get_tracer("tocsin").start_span(
        f"process {job.queue}",
        context.Context(),  # a trace of its own
        trace.SpanKind.CONSUMER,
        {
            "messaging.system": "tocsin",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": job.queue,
            "messaging.message.id": job.job_id,
            "tocsin.job.type": job.type,
            "tocsin.job.attempt": job.attempt,
        },
        [] if submitted is None else [trace.Link(submitted)],
    )
    return AttemptSpan(span, context.attach(trace.set_span_in_context(span)))


def end(begun: AttemptSpan | None, outcome: AttemptOutcome) -> None:
    """End it as the attempt ended. In the context in which it was begun."""
    if begun is None:
        return
    try:
        _end(begun, outcome)
    except Exception as error:
        _tell(error)


def enter(span: TraceContext) -> None:
    """Make an attempt's span, which another process began and will end, the current one here, for good."""
    try:
        from opentelemetry import context, trace

        if (found := _span_context(span)) is not None:
            context.attach(trace.set_span_in_context(trace.NonRecordingSpan(found)))
    except Exception as error:
        _tell(error)


def _end(begun: AttemptSpan, outcome: AttemptOutcome) -> None:
    from opentelemetry import context
    from opentelemetry.trace import StatusCode

    context.detach(begun.token)
    begun.span.set_attribute("tocsin.attempt.outcome", outcome.ending.name)
    if outcome.ending in (Ending.FAILED, Ending.CRASHED):
        begun.span.set_attribute("error.type", outcome.error_type)
        begun.span.set_status(StatusCode.ERROR, outcome.error_type)
    begun.span.end()


def _tell(error: Exception) -> None:
    # Its words are left out: they may hold what stands in a span.
    if type(error) not in _told:
        _told.add(type(error))
        logger.warning("attempts go on without spans: OpenTelemetry raised %s", type(error).__name__)


def _span_context(submitted: TraceContext) -> Any:
    """A span of another process, as OpenTelemetry knows it; None where it cannot be read."""
    from opentelemetry import trace

    try:
        version, trace_id, span_id, flags = submitted.traceparent.split("-")[:4]
        found = trace.SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(int(flags, 16)),
            trace_state=trace.TraceState.from_header([submitted.tracestate]) if submitted.tracestate else None,
        )
    except ValueError:
        return None
    return found if found.is_valid and version != "ff" else None
