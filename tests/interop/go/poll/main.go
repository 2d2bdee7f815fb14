// A worker of plain calls: a long poll for jobs, and calls for heartbeats and outcomes.
package main

import (
	"context"
	"crypto/rand"
	"log"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	pb "example/gen/tocsin/v1"
	"example/jobs"
	"example/traces"
)

var clients = jobs.Clients()
var current atomic.Int64 // the server to call: the next one after each failure

// main has what is held. Calls are made in goroutines, which hand over the answers.
func main() {
	defer traces.Send()()
	stop := jobs.Stop()
	held, heartbeat := jobs.NewHeld(stop), time.Tick(jobs.Lease/3)
	leased, extended, reported := make(chan []*pb.LeasedJob), make(chan func()), make(chan jobs.Answers)
	polls, reports, stopping := false, false, stop.Done() // the first two: such a call is under way
	for stopping != nil || polls || held.Open() > 0 {
		if free := jobs.Concurrency - held.Open(); free > 0 && !polls && stopping != nil {
			polls = true
			go func() { leased <- poll(stop, free) }()
		}
		if held.Ready() && !reports {
			reports = true
			words, outcomes := held.Unsent()
			go func() { reported <- report(words, outcomes) }()
		}
		select {
		case given := <-leased:
			polls = false
			held.Begin(given)
		case attempt := <-held.Ended:
			held.End(attempt)
		case answers := <-reported:
			reports = false
			held.Acknowledged(answers)
		case <-heartbeat:
			if beats := held.Heartbeats(); len(beats) > 0 {
				go func() {
					answers := extend(beats)
					extended <- func() { held.Extended(beats, answers) }
				}()
			}
		case hear := <-extended:
			hear()
		case <-stopping:
			stopping = nil
		}
	}
}

// poll waits for jobs. When it is stopped, it leases none.
func poll(stop context.Context, free int) []*pb.LeasedJob {
	request := &pb.LeaseJobsRequest{Worker: jobs.Me(), Asks: jobs.Ask(free), Lease: jobs.Span()}
	request.RequestId = rand.Text() // the same jobs are leased again where the answer was lost
	return call(stop, 30*time.Second, pb.WorkerServiceClient.LeaseJobs, request).GetJobs()
}

func extend(beats []*pb.Heartbeat) []*pb.ExtendLeasesResponse_Result {
	soon, free := context.WithTimeout(context.Background(), jobs.Lease/3) // the next one may be heard
	defer free()
	request := &pb.ExtendLeasesRequest{Worker: jobs.Me(), Heartbeats: beats, Lease: jobs.Span()}
	return call(soon, jobs.Lease/6, pb.WorkerServiceClient.ExtendLeases, request).GetResults()
}

func report(words []*pb.Heartbeat, outcomes []*pb.Outcome) jobs.Answers {
	for _, beat := range words {
		extend([]*pb.Heartbeat{beat})
	}
	request := &pb.ReportOutcomesRequest{Worker: jobs.Me(), Outcomes: outcomes}
	return call(context.Background(), 10*time.Second, pb.WorkerServiceClient.ReportOutcomes, request).Results
}

type method[Q, A any] func(pb.WorkerServiceClient, context.Context, Q, ...grpc.CallOption) (A, error)

// call makes a call, each time with a deadline, until a server answers or ctx is done. All calls of a worker may be made
// again: the same outcome twice is OK, and so is a heartbeat.
func call[Q, A any](ctx context.Context, deadline time.Duration, make method[Q, A], request Q) (none A) {
	for failures := 1; ctx.Err() == nil; failures++ {
		soon, free := context.WithTimeout(ctx, deadline)
		server := current.Load()
		answer, err := make(clients[server%int64(len(clients))], soon, request)
		if free(); err == nil {
			return answer
		}
		log.Printf("a call failed: %v", err)
		current.CompareAndSwap(server, server+1)
		time.Sleep(jobs.Patience(failures))
	}
	return none
}
