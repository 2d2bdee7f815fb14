package main

import (
	"context"
	"log"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

var (
	clients = dial()
	current atomic.Int64 // the server to call: the next one after each failure
)

func dial() (clients []pb.WorkerServiceClient) {
	for _, server := range jobs.Servers {
		soon := backoff.Config{BaseDelay: jobs.Patience(0), Multiplier: 1.6, MaxDelay: jobs.Patience(2)}
		connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: 5 * time.Second}))
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, pb.NewWorkerServiceClient(connection))
	}
	return clients
}

type method[Q, A any] func(pb.WorkerServiceClient, context.Context, Q, ...grpc.CallOption) (A, error)

// call makes a call, each time with a deadline, until a server answers or ctx is done. All calls of a worker may be made
// again: the same outcome twice is OK, and so is a heartbeat.
func call[Q, A any](ctx context.Context, deadline time.Duration, make method[Q, A], request Q) (A, error) {
	for failures := 1; ; failures++ {
		soon, free := context.WithTimeout(ctx, deadline)
		server := current.Load()
		answer, err := make(clients[server%int64(len(clients))], soon, request)
		free()
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
		log.Printf("a call failed: %v", err)
		current.CompareAndSwap(server, server+1)
		select {
		case <-time.After(jobs.Patience(failures)):
		case <-ctx.Done():
			return answer, err
		}
	}
}
