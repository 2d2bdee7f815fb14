// A span for each attempt, in a trace of its own that is linked to the one which scheduled the job; and for what
// schedules, the span that its job remembers. Without OTEL_EXPORTER_OTLP_ENDPOINT it does nothing.
import { Metadata } from "@grpc/grpc-js";
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { Job } from "./gen/tocsin/v1/job.js";

const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME } = process.env;
const w3c = new W3CTraceContextPropagator(); // no baggage: it is nobody else's business
const fields = { set: (to: Metadata, name: string, value: string) => to.set(name, value) };
const written = { get: (from: Record<string, string>, name: string) => from[name], keys: Object.keys };

const provider = OTEL_EXPORTER_OTLP_ENDPOINT
  ? new TracerProvider({
      resource: resourceFromAttributes({ "service.name": OTEL_SERVICE_NAME ?? "example" }),
      spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
    })
  : undefined;
if (provider) trace.setGlobalTracerProvider(provider);
const tracer = trace.getTracer("tocsin");

/** Sends the last spans. */
export async function flushed(): Promise<void> {
  await provider?.shutdown();
}

/** Begins the span of an attempt. */
export function begin(job: Job): Span {
  const { traceparent = "", tracestate = "" } = job.spec!.traceContext ?? {};
  const scheduled = trace.getSpanContext(w3c.extract(ROOT_CONTEXT, { traceparent, tracestate }, written));
  const attributes = {
    "messaging.system": "tocsin",
    "messaging.operation.type": "process",
    "messaging.destination.name": job.queue,
    "messaging.message.id": job.jobId,
    "tocsin.job.type": job.spec!.type,
    "tocsin.job.attempt": job.attempt,
  };
  const links = scheduled ? [{ context: scheduled }] : [];
  return tracer.startSpan(`process ${job.queue}`, { root: true, kind: SpanKind.CONSUMER, attributes, links });
}

/** Ends it. What an error says may hold what payloads hold, so only that there was one is told. */
export function end(span: Span, failed: boolean): void {
  if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

/** What a call does within a span of its own, told to the server by the call's metadata. */
export async function within<T>(name: string, call: (metadata: Metadata) => Promise<T>): Promise<T> {
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT });
  const metadata = new Metadata();
  w3c.inject(trace.setSpan(ROOT_CONTEXT, span), metadata, fields);
  try {
    return await call(metadata);
  } finally {
    span.end();
  }
}
