// A worker of plain calls: a long poll for jobs, and calls for heartbeats and outcomes.
package main

import (
	"context"
	"crypto/rand"
	"log"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

var (
	me      = jobs.Me()
	slots   = make(chan struct{}, jobs.Concurrency) // has one for each attempt that no server knows the end of
	mutex   sync.Mutex
	running = map[string]*jobs.Attempt{} // by token
)

func main() {
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for range time.Tick(jobs.Lease / 3) {
			heartbeat()
		}
	}()
	for stop.Err() == nil {
		poll(stop)
	}
	time.AfterFunc(jobs.Grace, func() { each(func(a *jobs.Attempt) { a.Stop(jobs.Release("the worker shuts down")) }) })
	for range cap(slots) { // all slots are free again
		slots <- struct{}{}
	}
}

// poll waits for jobs, as many as slots are free. When it is stopped, it leases none.
func poll(stop context.Context) {
	select {
	case slots <- struct{}{}:
		<-slots // one is free
	case <-stop.Done():
		return
	}
	ask := &pb.LeaseAsk{Queue: jobs.Queue, Types: jobs.Types(), MaxJobs: int32(cap(slots) - len(slots))}
	request := &pb.LeaseJobsRequest{ // with the id the same jobs are leased again where the answer was lost
		Worker: me, Asks: []*pb.LeaseAsk{ask}, Lease: durationpb.New(jobs.Lease), RequestId: rand.Text(),
	}
	answer, err := call(stop, 30*time.Second, pb.WorkerServiceClient.LeaseJobs, request)
	if err != nil {
		return
	}
	mutex.Lock()
	defer mutex.Unlock()
	for _, leased := range answer.Jobs {
		if running[string(leased.Token)] == nil {
			slots <- struct{}{}
			running[string(leased.Token)] = jobs.Begin(leased, report)
		}
	}
}

func heartbeat() {
	var beats []*pb.Heartbeat
	each(func(a *jobs.Attempt) { beats = append(beats, a.Heartbeat()) })
	if len(beats) > 0 {
		extend(beats)
	}
}

func extend(beats []*pb.Heartbeat) {
	soon, free := context.WithTimeout(context.Background(), jobs.Lease/3)
	defer free()
	request := &pb.ExtendLeasesRequest{Worker: me, Heartbeats: beats, Lease: durationpb.New(jobs.Lease)}
	answer, err := call(soon, jobs.Lease/6, pb.WorkerServiceClient.ExtendLeases, request)
	if err != nil {
		return // the next one may be heard
	}
	mutex.Lock()
	defer mutex.Unlock()
	for n, result := range answer.Results {
		attempt := running[string(beats[n].Token)]
		if attempt == nil {
			continue
		}
		if result.Cancel != nil {
			attempt.Stop(jobs.Release("cancelled: " + result.Cancel.Reason))
		}
		if attempt.Lost = result.Lost; result.Lost { // its outcome would not be taken
			attempt.Stop(jobs.Release("its lease was lost"))
		}
	}
}

// report tells how an attempt ended until a server has heard it.
func report(attempt *jobs.Attempt, outcome *pb.Outcome) {
	for _, beat := range attempt.LastWords() {
		extend([]*pb.Heartbeat{beat})
	}
	mutex.Lock()
	delete(running, string(attempt.Token))
	lost := attempt.Lost
	mutex.Unlock()
	for again := !lost; again; {
		request := &pb.ReportOutcomesRequest{Worker: me, Outcomes: []*pb.Outcome{outcome}}
		answer, _ := call(context.Background(), 10*time.Second, pb.WorkerServiceClient.ReportOutcomes, request)
		refused := answer.Results[0].Error
		again = codes.Code(refused.GetCode()) == codes.Unavailable // the store is away
		if refused != nil {
			log.Printf("an outcome was not taken: %s", refused.Message)
			time.Sleep(jobs.Patience(1))
		}
	}
	<-slots
}

func each(act func(*jobs.Attempt)) {
	mutex.Lock()
	defer mutex.Unlock()
	for _, attempt := range running {
		act(attempt)
	}
}
