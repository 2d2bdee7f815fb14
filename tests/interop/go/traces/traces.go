// Package traces has a span for each attempt, in a trace of its own that is linked to the one which scheduled the job.
// Without OTEL_EXPORTER_OTLP_ENDPOINT it does nothing.
package traces

import (
	"context"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	pb "example/gen/tocsin/v1"
)

// Send spans from now on, as the variables OTEL_* say; the function that is returned sends the last ones.
func Send() func() {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // no baggage: it is nobody else's business
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return func() {}
	}
	exporter, err := otlptracegrpc.New(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	return func() {
		soon, free := context.WithTimeout(context.Background(), 5*time.Second)
		defer free()
		provider.Shutdown(soon)
	}
}

// Begin the span of an attempt.
func Begin(ctx context.Context, job *pb.Job) (context.Context, trace.Span) {
	scheduled := propagation.MapCarrier{
		"traceparent": job.Spec.TraceContext.GetTraceparent(), "tracestate": job.Spec.TraceContext.GetTracestate()}
	link := trace.LinkFromContext(propagation.TraceContext{}.Extract(context.Background(), scheduled))
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "tocsin"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", job.Queue),
			attribute.String("messaging.message.id", job.JobId),
			attribute.String("tocsin.job.type", job.Spec.Type),
			attribute.Int("tocsin.job.attempt", int(job.Attempt)))}
	if link.SpanContext.IsValid() {
		options = append(options, trace.WithLinks(link))
	}
	return otel.Tracer("tocsin").Start(ctx, "process "+job.Queue, options...)
}

// End it. What the error says may hold what payloads hold, so only that there was one is told.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "the attempt failed")
	}
	span.End()
}
