package jobs

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

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

// Patience is how long to wait before the next server is tried: 0.2 s at first, 5 s at most.
func Patience(failures int) time.Duration {
	return min(200*time.Millisecond<<min(failures, 5), 5*time.Second)
}

func setting(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
