// Package jobs runs attempts. What jobs of each type do stands in handlers.go.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example/gen/tocsin/v1"
	"example/traces"
)

// Attempt is one run of a job: what its handler is given.
type Attempt struct {
	*pb.LeasedJob
	stop     context.CancelCauseFunc // the handler; a Release gives the job back
	lost     bool                    // its lease
	outcome  *pb.Outcome             // once it has ended
	mutex    sync.Mutex
	progress *pb.Progress
	lines    []*pb.LogLine
}

// Failure is an error that says what follows: no further attempt, or one in a while; else the job's retry policy does.
type Failure struct {
	Type, Message, Trace string
	Final                bool
	RetryIn              time.Duration
}

func (f *Failure) Error() string { return f.Type + ": " + f.Message }

// Release gives the job back, for the reason that the error says: no attempt is spent.
type Release string

func (r Release) Error() string { return string(r) }

// Begin runs the handler in a goroutine of its own, which hands over the attempt when it has ended.
func Begin(ctx context.Context, leased *pb.LeasedJob, ended chan<- *Attempt) *Attempt {
	ctx, stop := context.WithCancelCause(ctx)
	attempt := &Attempt{LeasedJob: leased, stop: stop}
	free := context.CancelFunc(func() {})
	if limit := leased.Job.Spec.Timeout; limit != nil { // the worker sees to it
		ctx, free = context.WithTimeoutCause(ctx, limit.AsDuration(), &Failure{Type: "TIMEOUT", Message: "it took too long"})
	}
	go func() {
		ctx, span := traces.Begin(ctx, leased.Job)
		result, err := attempt.run(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx) // why it was stopped, not that it was
		}
		traces.End(span, err)
		attempt.outcome = outcome(leased.Token, result, err)
		free()
		stop(nil)
		ended <- attempt
	}()
	return attempt
}

func (a *Attempt) run(ctx context.Context) (result *pb.Result, err error) {
	defer func() {
		if bad := recover(); bad != nil {
			err = &Failure{Type: "panic", Message: fmt.Sprint(bad), Trace: string(debug.Stack())}
		}
	}()
	handler, known := Handlers[a.Job.Spec.Type]
	if !known {
		return nil, &Failure{Type: "UnknownType", Message: "no handler for " + a.Job.Spec.Type}
	}
	return handler(ctx, a)
}

func outcome(token []byte, result *pb.Result, err error) *pb.Outcome {
	var release Release
	var failure *Failure
	switch {
	case err == nil:
		return &pb.Outcome{Token: token, Outcome: &pb.Outcome_Completed_{Completed: &pb.Outcome_Completed{Result: result}}}
	case errors.As(err, &release):
		return &pb.Outcome{Token: token, Outcome: &pb.Outcome_Released_{Released: &pb.Outcome_Released{Reason: string(release)}}}
	case !errors.As(err, &failure):
		failure = &Failure{Type: fmt.Sprintf("%T", err), Message: err.Error()}
	}
	failed := &pb.Outcome_Failed{
		Type: failure.Type, Message: failure.Message, Trace: failure.Trace, Final: failure.Final,
	}
	if failure.RetryIn > 0 && !failure.Final {
		failed.RetryAt = timestamppb.New(time.Now().Add(failure.RetryIn))
	}
	return &pb.Outcome{Token: token, Outcome: &pb.Outcome_Failed_{Failed: failed}}
}

// Progress says how far the attempt is, 0 to 1. It is sent with the next heartbeat.
func (a *Attempt) Progress(fraction float64, message string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.progress = &pb.Progress{Fraction: fraction, Message: message}
}

// Log writes a line of the job's log. It is sent with the next heartbeat.
func (a *Attempt) Log(level pb.LogLine_Level, text string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.lines = append(a.lines, &pb.LogLine{Level: level, Text: text})
}

// Heartbeat has what was said since the last one, at most 1,000 lines of it.
func (a *Attempt) Heartbeat() *pb.Heartbeat {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	now := min(len(a.lines), 1000)
	beat := &pb.Heartbeat{Token: a.Token, Progress: a.progress, Log: a.lines[:now:now]}
	a.progress, a.lines = nil, a.lines[now:]
	return beat
}

// LastWords has all of it, once the attempt has ended: heartbeats that go before its outcome, each in a message of its own.
func (a *Attempt) LastWords() (beats []*pb.Heartbeat) {
	for beat := a.Heartbeat(); beat.Progress != nil || len(beat.Log) > 0; beat = a.Heartbeat() {
		beats = append(beats, beat)
	}
	return beats
}
