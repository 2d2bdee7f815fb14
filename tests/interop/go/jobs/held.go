package jobs

import (
	"context"
	"log"
	"time"

	"google.golang.org/grpc/codes"

	pb "example/gen/tocsin/v1"
)

// Held is what a worker has: attempts that run, and what no server has acknowledged. It outlives connections. One
// goroutine uses it, so nothing in it is locked.
type Held struct {
	Ended chan *Attempt // each is for End

	ctx     context.Context     // of all attempts
	running map[string]*Attempt // by token
	words   []*pb.Heartbeat     // the last of attempts that have ended, to be sent before the outcomes
	unsent  []*pb.Outcome
	sent    []*pb.Outcome // and not acknowledged, in their order
	again   time.Time     // not before then, where the store was away
}

// NewHeld has nothing yet. Some time after stop, attempts that still run are given back.
func NewHeld(stop context.Context) *Held {
	ctx, giveBack := context.WithCancelCause(context.Background())
	context.AfterFunc(stop, func() { time.AfterFunc(Grace, func() { giveBack(Release("the worker shuts down")) }) })
	return &Held{Ended: make(chan *Attempt, Concurrency), ctx: ctx, running: map[string]*Attempt{}}
}

// Begin runs what was leased, and says how many that are: of a lease that it knows, it begins no second attempt.
func (h *Held) Begin(leased []*pb.LeasedJob) (begun int) {
	for _, job := range leased {
		if token := string(job.Token); h.running[token] == nil {
			h.running[token] = Begin(h.ctx, job, h.Ended)
			begun++
		}
	}
	return begun
}

// End takes an attempt that has ended.
func (h *Held) End(attempt *Attempt) {
	delete(h.running, string(attempt.Token))
	if !attempt.lost {
		h.words = append(h.words, attempt.LastWords()...)
		h.unsent = append(h.unsent, attempt.outcome)
	}
}

// Extended takes the answers to heartbeats.
func (h *Held) Extended(beats []*pb.Heartbeat, answers []*pb.ExtendLeasesResponse_Result) {
	for n, answer := range answers {
		if answer.Cancel != nil {
			h.Cancel(beats[n].Token, answer.Cancel.Reason)
		}
		if answer.Lost {
			h.Lose(beats[n].Token)
		}
	}
}

// Cancel stops an attempt whose job somebody cancelled.
func (h *Held) Cancel(token []byte, reason string) {
	if attempt := h.running[string(token)]; attempt != nil {
		attempt.stop(Release("cancelled: " + reason))
	}
}

// Lose stops an attempt whose lease is lost: its outcome would not be taken. Its slot is free once it has ended.
func (h *Held) Lose(token []byte) {
	if attempt := h.running[string(token)]; attempt != nil {
		attempt.lost = true
		attempt.stop(Release("its lease was lost"))
	}
}

// Heartbeats has one for each lease.
func (h *Held) Heartbeats() (beats []*pb.Heartbeat) {
	for _, attempt := range h.running {
		if !attempt.lost {
			beats = append(beats, attempt.Heartbeat())
		}
	}
	return beats
}

// Tokens are those of all leases, for a new stream. What the last one did not acknowledge is to be sent again.
func (h *Held) Tokens() (tokens [][]byte) {
	h.unsent, h.sent = append(h.sent, h.unsent...), nil
	for token, attempt := range h.running {
		if !attempt.lost {
			tokens = append(tokens, []byte(token))
		}
	}
	return tokens
}

// Ready says whether something is to be sent.
func (h *Held) Ready() bool { return len(h.unsent) > 0 && time.Now().After(h.again) }

// Unsent is what is to be sent now: last words, each in a message of its own, then outcomes.
func (h *Held) Unsent() (words []*pb.Heartbeat, outcomes []*pb.Outcome) {
	words, outcomes = h.words, h.unsent
	h.words, h.unsent, h.sent = nil, nil, append(h.sent, h.unsent...)
	return words, outcomes
}

// Answers are those to outcomes, in their order.
type Answers = []*pb.ReportOutcomesResponse_Result

// Acknowledged takes the answers to the first outcomes that were sent.
func (h *Held) Acknowledged(answers Answers) {
	for n, answer := range answers {
		switch codes.Code(answer.Error.GetCode()) {
		case codes.OK:
		case codes.Unavailable, codes.DeadlineExceeded: // the store is away
			h.unsent, h.again = append(h.unsent, h.sent[n]), time.Now().Add(time.Second)
		default: // its lease was lost, say: the job runs again, or has
			log.Printf("an outcome was not taken: %s", answer.Error.Message)
		}
	}
	h.sent = h.sent[len(answers):]
}

// Running is how many attempts run.
func (h *Held) Running() int { return len(h.running) }

// Open is how many attempts no server knows the end of.
func (h *Held) Open() int { return len(h.running) + len(h.unsent) + len(h.sent) }
