package jobs

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "example/gen/tocsin/v1"
)

// What the environment says, for both workers and the client.
var (
	Servers        = strings.Split(setting("TOCSIN_SERVER", "localhost:50051"), ",")
	Queue          = setting("TOCSIN_QUEUE", "default")
	Concurrency, _ = strconv.Atoi(setting("TOCSIN_CONCURRENCY", "10"))
	Lease, _       = time.ParseDuration(setting("TOCSIN_LEASE", "30s"))
)

// Grace is how long attempts may go on once the worker is told to stop; then they are given back.
const Grace = 25 * time.Second

// Me is this process: a name that no other has.
func Me() *pb.Worker {
	host, _ := os.Hostname()
	return &pb.Worker{Name: fmt.Sprintf("example-go-%s-%d", host, os.Getpid()), Version: "1.0.0", Language: "go"}
}

// Clients are one for each server.
func Clients() (clients []pb.WorkerServiceClient) {
	for _, server := range Servers {
		connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
			grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second, Backoff: backoff.Config{
				BaseDelay: Patience(0), Multiplier: 1.6, MaxDelay: Patience(2)}}))
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, pb.NewWorkerServiceClient(connection))
	}
	return clients
}

// Ask is for so many jobs; on a stream credits say how many.
func Ask(most int) []*pb.LeaseAsk {
	return []*pb.LeaseAsk{{Queue: Queue, Types: Types(), MaxJobs: int32(most)}}
}

// Span is how long leases hold.
func Span() *durationpb.Duration { return durationpb.New(Lease) }

// Stop is done once this process is told to end.
func Stop() context.Context {
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	return stop
}

// Patience is how long to wait before the next server is tried: 0.2 s at first, 5 s at most.
func Patience(failures int) time.Duration {
	return min(200*time.Millisecond<<min(failures, 5), 5*time.Second)
}

func setting(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
