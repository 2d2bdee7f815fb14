package main

import (
	"errors"
	"log"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

var errDraining = errors.New("the server shuts down")

// worker knows what runs, and what the servers have yet to hear. It outlives streams.
type worker struct {
	sync.Mutex
	running   map[string]*jobs.Attempt // by token
	lastWords []*pb.Heartbeat          // of attempts that have ended; they go before the outcomes
	ended     []*pb.Outcome            // which no server has acknowledged; first those that this stream was sent
	sent      int                      // how many these are
	again     int                      // outcomes that wait to be sent once more
	credits   int32                    // to give: one for each attempt that has ended
	changed   chan struct{}            // something is to be sent
}

// hello begins a stream: what it holds, what must be said again, and a credit for each free slot.
func (w *worker) hello(more bool) []*pb.StreamJobsRequest {
	w.Lock()
	defer w.Unlock()
	hello := &pb.StreamJobsRequest_Hello{
		Worker: jobs.Me(), Lease: durationpb.New(jobs.Lease),
		Asks: []*pb.LeaseAsk{{Queue: jobs.Queue, Types: jobs.Types()}},
	}
	for token, attempt := range w.running {
		if !attempt.Lost {
			hello.HeldTokens = append(hello.HeldTokens, []byte(token))
		}
	}
	w.sent, w.credits = 0, int32(jobs.Concurrency-len(w.running))
	return append([]*pb.StreamJobsRequest{{Hello: hello}}, w.unsent(more)...)
}

func (w *worker) outcomes(more bool) []*pb.StreamJobsRequest {
	w.Lock()
	defer w.Unlock()
	return w.unsent(more)
}

// unsent is what this stream was not sent yet; with more, the credits, too.
func (w *worker) unsent(more bool) (messages []*pb.StreamJobsRequest) {
	for _, beat := range w.lastWords {
		messages = append(messages, &pb.StreamJobsRequest{Heartbeats: []*pb.Heartbeat{beat}})
	}
	w.lastWords = nil
	last := &pb.StreamJobsRequest{Outcomes: w.ended[w.sent:len(w.ended):len(w.ended)]}
	if w.sent = len(w.ended); more && w.credits > 0 {
		last.Credits, w.credits = []*pb.StreamJobsRequest_Credit{{N: w.credits}}, 0
	}
	return append(messages, last)
}

func (w *worker) heartbeats() []*pb.StreamJobsRequest {
	w.Lock()
	defer w.Unlock()
	message := &pb.StreamJobsRequest{}
	for _, attempt := range w.running {
		if !attempt.Lost {
			message.Heartbeats = append(message.Heartbeats, attempt.Heartbeat())
		}
	}
	return []*pb.StreamJobsRequest{message}
}

func (w *worker) begin(leased *pb.LeasedJob) {
	w.Lock()
	defer w.Unlock()
	if w.running[string(leased.Token)] == nil {
		w.running[string(leased.Token)] = jobs.Begin(leased, w.end)
	}
}

func (w *worker) end(attempt *jobs.Attempt, outcome *pb.Outcome) {
	w.Lock()
	defer w.Unlock()
	delete(w.running, string(attempt.Token))
	if w.credits++; !attempt.Lost {
		w.lastWords = append(w.lastWords, attempt.LastWords()...)
		w.ended = append(w.ended, outcome)
	}
	w.ring()
}

func (w *worker) stop(token []byte, why error) {
	w.Lock()
	defer w.Unlock()
	if attempt := w.running[string(token)]; attempt != nil {
		attempt.Stop(why)
	}
}

func (w *worker) lose(token []byte) {
	w.Lock()
	defer w.Unlock()
	if attempt := w.running[string(token)]; attempt != nil {
		attempt.Lost = true // its outcome would not be taken
		attempt.Stop(jobs.Release("its lease was lost"))
	}
}

// acknowledged takes the answer to the first of the outcomes that were sent.
func (w *worker) acknowledged(answer *pb.ReportOutcomesResponse_Result) {
	w.Lock()
	defer w.Unlock()
	outcome := w.ended[0]
	w.ended, w.sent = w.ended[1:], w.sent-1
	if code := codes.Code(answer.Error.GetCode()); code == codes.Unavailable || code == codes.DeadlineExceeded {
		w.again++
		time.AfterFunc(time.Second, func() { // the store is away
			w.Lock()
			defer w.Unlock()
			w.again, w.ended = w.again-1, append(w.ended, outcome)
			w.ring()
		})
	} else if answer.Error != nil { // of a lease that was lost, say: the job runs again, or has
		log.Printf("an outcome was not taken: %s", answer.Error.Message)
	}
	w.ring()
}

func (w *worker) giveBack() {
	w.Lock()
	defer w.Unlock()
	for _, attempt := range w.running {
		attempt.Stop(jobs.Release("the worker shuts down"))
	}
}

func (w *worker) idle() bool {
	w.Lock()
	defer w.Unlock()
	return len(w.running)+len(w.ended)+w.again == 0
}

func (w *worker) ring() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
