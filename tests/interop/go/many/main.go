// Schedules many jobs, for tests: `many COUNT MS SPREAD_MS`, due one after the other within the spread.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

func main() {
	count, ms, spread := number(1), number(2), number(3)
	var clients []pb.JobServiceClient
	for _, server := range jobs.Servers {
		connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, pb.NewJobServiceClient(connection))
	}
	data, _ := structpb.NewStruct(map[string]any{"ms": ms})
	server := 0
	for n := range count {
		delay := spread * n / count
		request := &pb.ScheduleJobRequest{
			Job:        &pb.JobSpec{Queue: jobs.Queue, Type: "conformance.sleep", Payload: &pb.JobSpec_Data{Data: data}},
			JobId:      fmt.Sprintf("go-%d-%d", n, delay),
			When:       &pb.ScheduleJobRequest_Delay{Delay: durationpb.New(time.Duration(delay) * time.Millisecond)},
			OnConflict: pb.ScheduleJobRequest_KEEP, // so that it can be said again where the answer is lost
		}
		for {
			soon, free := context.WithTimeout(context.Background(), 10*time.Second)
			_, err := clients[server%len(clients)].ScheduleJob(soon, request)
			free()
			if err == nil {
				break
			}
			log.Print(err)
			server++
			time.Sleep(jobs.Patience(0))
		}
	}
}

func number(at int) int {
	n, err := strconv.Atoi(os.Args[at])
	if err != nil {
		log.Fatal(err)
	}
	return n
}
