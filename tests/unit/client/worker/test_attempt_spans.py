"""Each attempt has one span wherever its handler runs, and no attempt suffers from what is done with spans."""

from __future__ import annotations

import logging
from functools import cache

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tocsin import tracing
from tocsin.payloads import python_from_value
from tocsin.v1 import job_pb2
from tocsin.worker import attempt_spans
from tocsin.worker.context import JobContext
from tocsin.worker.loading import load_handlers
from tocsin.worker.registry import Handlers
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob
from unit.client.worker.memory_source import MemorySource, a_job, endings, running

TYPES = ("in_a_loop", "in_a_thread", "traced")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """What a program has set up."""
    made = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made)
    monkeypatch.setattr(attempt_spans, "_told", set(), raising=False)
    return made


def here() -> str:
    """The span that is the current one."""
    span = tracing.current()
    return "" if span is None else span.traceparent


@cache
def everywhere() -> Handlers:
    """Handlers that say it: on a loop, in a thread, in a process."""
    handlers = load_handlers("unit.client.worker.runners.process_jobs")

    @handlers.on("in_a_loop")
    async def in_a_loop(job: JobContext) -> str:
        return here()

    @handlers.on("in_a_thread")
    def in_a_thread(job: JobContext) -> str:
        return here()

    return handlers


async def outcomes_of(*jobs: LeasedJob) -> list[AttemptOutcome]:
    """How they end."""
    async with running(everywhere()) as (source, _):
        assert isinstance(source, MemorySource)
        source.add(*jobs)
        return await source.finished(*jobs, within=30)


def said(outcome: AttemptOutcome) -> object:
    """What a handler returned."""
    return python_from_value(job_pb2.Result.FromString(outcome.result or b"").data)


@pytest.mark.parametrize("type_", TYPES)
async def test_an_attempt_is_one_span_which_is_current_in_its_handler(provider: TracerProvider, type_: str) -> None:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    [outcome] = await outcomes_of(a_job(type_))
    [span] = exporter.get_finished_spans()
    assert span.context is not None
    assert str(said(outcome)).startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert (span.attributes or {})["tocsin.attempt.outcome"] == "COMPLETED"


async def test_an_attempt_that_crashes_in_its_process_is_told_in_its_span(provider: TracerProvider) -> None:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    [outcome] = await outcomes_of(a_job("raises"))  # its payload is not what it wants
    [span] = exporter.get_finished_spans()
    assert (outcome.ending, span.status.description) == (Ending.FAILED, outcome.error_type)


class Broken(SpanProcessor):
    """Raises at one end of each span."""

    def __init__(self, where: str) -> None:
        self._where = where

    def on_start(self, span: trace.Span, parent_context: object = None) -> None:
        if self._where == "start":
            raise ValueError("secret-2f6c")

    def on_end(self, span: ReadableSpan) -> None:
        if self._where == "end":
            raise ValueError("secret-2f6c")


@pytest.mark.parametrize("where", ["start", "end"])
async def test_what_is_done_with_spans_harms_no_attempt(
    provider: TracerProvider, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.add_span_processor(Broken(where))
    with caplog.at_level(logging.WARNING, "tocsin.worker"):
        outcomes = await outcomes_of(*(a_job(type_) for type_ in TYPES), *(a_job(type_) for type_ in TYPES))
    assert endings(outcomes) == [Ending.COMPLETED] * 6
    assert [record.getMessage() for record in caplog.records] == [
        "attempts go on without spans: OpenTelemetry raised ValueError"
    ]
    assert here() == ""
