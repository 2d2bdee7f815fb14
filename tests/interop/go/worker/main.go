// A worker that has everything on one stream: outcomes and credits up, jobs and cancels down.
package main

import (
	"context"
	"io"
	"log"
	"time"

	pb "example/gen/tocsin/v1"
	"example/jobs"
	"example/traces"
)

func main() {
	defer traces.Send()()
	stop := jobs.Stop()
	held, clients := jobs.NewHeld(stop), jobs.Clients()
	for server, failures := 0, 0; stop.Err() == nil || held.Open() > 0; server++ {
		begun := time.Now()
		if err := work(stop, held, clients[server%len(clients)]); err != io.EOF {
			log.Printf("the stream ended: %v", err)
			if failures++; time.Since(begun) > 10*time.Second {
				failures = 0
			}
			time.Sleep(jobs.Patience(failures))
		}
	}
}

// work has one stream, from hello to its end. When it is cut, attempts go on, and the next one's hello names them.
func work(stop context.Context, held *jobs.Held, client pb.WorkerServiceClient) error {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stream, err := client.StreamJobs(ctx)
	if err != nil {
		return err
	}
	received := make(chan *pb.StreamJobsResponse)
	go func() {
		defer close(received)
		for err == nil {
			var message *pb.StreamJobsResponse
			if message, err = stream.Recv(); err == nil {
				received <- message
			}
		}
	}()
	stream.Send(&pb.StreamJobsRequest{Hello: &pb.StreamJobsRequest_Hello{ // where this fails, Recv has the reason
		Worker: jobs.Me(), Asks: jobs.Ask(0), Lease: jobs.Span(), HeldTokens: held.Tokens()}})
	given, stopping := 0, stop.Done() // credits that no job has come for
	heartbeat, soon := time.NewTicker(jobs.Lease/3), time.After(0)
	for {
		if stopping == nil && held.Open() == 0 {
			stream.CloseSend()
		}
		var beats []*pb.Heartbeat
		select {
		case message, open := <-received:
			if !open {
				return err
			}
			if message.Welcome != nil { // more often for a while, where there are leases of an earlier stream
				heartbeat.Reset(message.Welcome.HeartbeatEvery.AsDuration())
			}
			given -= held.Begin(message.Leased)
			for _, cancel := range message.Cancels {
				held.Cancel(cancel.Token, cancel.Wish.GetReason())
			}
			for _, token := range message.Lost {
				held.Lose(token)
			}
			held.Acknowledged(message.Acks)
			if message.Drain != nil { // on to the next server, or to this one when it is back
				end()
			}
			continue
		case attempt := <-held.Ended:
			if held.End(attempt); soon == nil {
				soon = time.After(time.Millisecond) // what ends meanwhile goes along
			}
			continue
		case <-stopping:
			stopping = nil
			stream.Send(&pb.StreamJobsRequest{Goodbye: &pb.StreamJobsRequest_Goodbye{}})
		case <-heartbeat.C:
			beats = held.Heartbeats()
		case <-soon:
			soon = nil
		}
		words, outcomes := held.Unsent()
		for _, beat := range words {
			stream.Send(&pb.StreamJobsRequest{Heartbeats: []*pb.Heartbeat{beat}})
		}
		message := &pb.StreamJobsRequest{Heartbeats: beats, Outcomes: outcomes}
		if free := jobs.Concurrency - held.Running() - given; free > 0 && stop.Err() == nil {
			message.Credits = []*pb.StreamJobsRequest_Credit{{N: int32(free)}}
			given += free
		}
		stream.Send(message)
	}
}
