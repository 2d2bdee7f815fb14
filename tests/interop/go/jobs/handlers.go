package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	pb "example/gen/tocsin/v1"
)

// Handlers are the types that this worker runs: those that `tocsin conformance` schedules. Yours take their place.
var Handlers = map[string]func(context.Context, *Attempt) (*pb.Result, error){
	"conformance.echo":     echo,
	"conformance.digest":   digest,
	"conformance.sleep":    sleep,
	"conformance.fail":     fail,
	"conformance.release":  release,
	"conformance.progress": progress,
	"conformance.log":      write,
}

// Types are the names of all of them.
func Types() (types []string) {
	for name := range Handlers {
		types = append(types, name)
	}
	return types
}

func echo(_ context.Context, a *Attempt) (*pb.Result, error) {
	if raw := a.Job.Spec.GetRaw(); raw != nil {
		return &pb.Result{Value: &pb.Result_Raw{Raw: raw}}, nil
	}
	return data(structpb.NewStructValue(a.Job.Spec.GetData()))
}

func digest(_ context.Context, a *Attempt) (*pb.Result, error) {
	sum := sha256.Sum256(a.Job.Spec.GetRaw().GetBody())
	return data(structpb.NewStringValue(hex.EncodeToString(sum[:])))
}

func sleep(ctx context.Context, a *Attempt) (*pb.Result, error) {
	if err := rest(ctx, number(a, "ms")); err != nil {
		return nil, err
	}
	return data(structpb.NewStringValue("slept"))
}

func fail(_ context.Context, a *Attempt) (*pb.Result, error) {
	fields := a.Job.Spec.GetData().GetFields()
	if after := number(a, "attempts"); after > 0 && float64(a.Job.Attempt) > after {
		return data(structpb.NewStringValue("at last"))
	}
	return nil, &Failure{
		Type:    fields["type"].GetStringValue(),
		Message: fields["message"].GetStringValue(),
		Final:   fields["final"].GetBoolValue(),
		RetryIn: milliseconds(number(a, "retry_in_ms")),
	}
}

func release(_ context.Context, a *Attempt) (*pb.Result, error) {
	if a.Job.Attempt == 1 {
		return nil, Release("not now")
	}
	return data(structpb.NewStringValue("now"))
}

func progress(ctx context.Context, a *Attempt) (*pb.Result, error) {
	steps := number(a, "steps")
	for step := 1.0; step <= steps; step++ {
		a.Progress(step/steps, fmt.Sprintf("step %v of %v", step, steps))
		if err := rest(ctx, number(a, "ms")); err != nil {
			return nil, err
		}
	}
	return data(structpb.NewStringValue("done"))
}

func write(_ context.Context, a *Attempt) (*pb.Result, error) {
	for line := range int(number(a, "lines")) {
		text := fmt.Sprintf("line %d ", line+1)
		a.Log(pb.LogLine_INFO, text+strings.Repeat("ö", max(0, int(number(a, "bytes"))-len(text))/2))
	}
	return data(structpb.NewStringValue("logged"))
}

func rest(ctx context.Context, ms float64) error {
	select {
	case <-time.After(milliseconds(ms)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func number(a *Attempt, name string) float64 {
	return a.Job.Spec.GetData().GetFields()[name].GetNumberValue()
}

func data(value *structpb.Value) (*pb.Result, error) {
	return &pb.Result{Value: &pb.Result_Data{Data: value}}, nil
}
