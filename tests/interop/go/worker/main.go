// A worker that has everything on one stream: outcomes and credits up, jobs and cancels down.
package main

import (
	"context"
	"io"
	"log"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

func main() {
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	w := &worker{running: map[string]*jobs.Attempt{}, changed: make(chan struct{}, 1)}
	context.AfterFunc(stop, func() { time.AfterFunc(jobs.Grace, w.giveBack) })
	failures := 0
	for server := 0; stop.Err() == nil || !w.idle(); server++ {
		begun := time.Now()
		err := w.work(stop, jobs.Servers[server%len(jobs.Servers)])
		if err == io.EOF {
			continue
		}
		log.Printf("the stream ended: %v", err)
		if failures++; time.Since(begun) > 10*time.Second {
			failures = 0
		}
		time.Sleep(jobs.Patience(failures))
	}
}

// work has one stream, from hello to its end. When it is cut, attempts go on, and the next one's hello names them.
func (w *worker) work(stop context.Context, server string) error {
	connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := pb.NewWorkerServiceClient(connection).StreamJobs(context.Background())
	if err != nil {
		return err
	}
	cut := make(chan error, 1)
	heartbeat, stopping := time.NewTicker(jobs.Lease/3), stop.Done()
	defer heartbeat.Stop()
	go func() { cut <- w.listen(stream, heartbeat) }()
	for messages := w.hello(stop.Err() == nil); ; {
		for _, message := range messages {
			if stream.Send(message) != nil {
				return <-cut // which has the reason
			}
		}
		if stopping == nil && w.idle() {
			stream.CloseSend()
			return <-cut
		}
		select {
		case err := <-cut:
			return err
		case <-stopping:
			stopping, messages = nil, []*pb.StreamJobsRequest{{Goodbye: &pb.StreamJobsRequest_Goodbye{}}}
		case <-heartbeat.C:
			messages = w.heartbeats()
		case <-w.changed:
			time.Sleep(time.Millisecond) // what ends meanwhile goes along
			messages = w.outcomes(stopping != nil)
		}
	}
}

type stream = grpc.BidiStreamingClient[pb.StreamJobsRequest, pb.StreamJobsResponse]

// listen takes what the server sends, until the stream ends.
func (w *worker) listen(stream stream, heartbeat *time.Ticker) error {
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if message.Welcome != nil { // more often for a while, where there are leases of an earlier stream
			heartbeat.Reset(message.Welcome.HeartbeatEvery.AsDuration())
		}
		for _, leased := range message.Leased {
			w.begin(leased)
		}
		for _, cancel := range message.Cancels {
			w.stop(cancel.Token, jobs.Release("cancelled: "+cancel.Wish.GetReason()))
		}
		for _, token := range message.Lost {
			w.lose(token)
		}
		for _, answer := range message.Acks {
			w.acknowledged(answer)
		}
		if message.Drain != nil { // the next server, or this one when it is back
			return errDraining
		}
	}
}
