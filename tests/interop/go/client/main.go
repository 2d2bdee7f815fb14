// Schedules a job, waits for it, lists, cancels one, and reads what is wrong with another.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "example/gen/tocsin/v1"
	"example/jobs"
	"example/traces"
)

//go:embed service_config.json
var serviceConfig string // of protos/tocsin/v1: which calls may be repeated, and how long each may take

func main() {
	defer traces.Send()()
	channel, err := grpc.NewClient(jobs.Servers[0],
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler())) // each call is a span, which its job remembers
	check(err)
	defer channel.Close()
	client := pb.NewJobServiceClient(channel)
	soon, free := context.WithTimeout(context.Background(), 30*time.Second)
	defer free()

	job := schedule(soon, client, map[string]any{"name": "Ada"}, time.Second)
	watch, err := client.WatchJobs(soon, &pb.WatchJobsRequest{Queue: jobs.Queue, JobId: job.JobId})
	check(err)
	for change, err := watch.Recv(); err != io.EOF; change, err = watch.Recv() {
		check(err)
		fmt.Println(change.Job.State)
	}
	done, err := client.GetJob(soon, &pb.GetJobRequest{Queue: jobs.Queue, JobId: job.JobId})
	check(err)
	fmt.Println(done.Job.Result.GetData().AsInterface())

	later := schedule(soon, client, map[string]any{"name": "Grace"}, time.Hour)
	list, err := client.ListJobs(soon, &pb.ListJobsRequest{Queue: jobs.Queue, States: []pb.Job_State{pb.Job_SCHEDULED}})
	check(err)
	fmt.Println(list.Jobs[0].JobId == later.JobId)
	cancelled, err := client.CancelJob(soon, &pb.CancelJobRequest{Queue: jobs.Queue, JobId: later.JobId, Reason: "moved"})
	check(err)
	fmt.Println(cancelled.Job.State)

	_, err = client.ScheduleJob(soon, &pb.ScheduleJobRequest{Job: &pb.JobSpec{Type: "no spaces"}})
	explain(err)
}

func schedule(ctx context.Context, client pb.JobServiceClient, data map[string]any, in time.Duration) *pb.Job {
	fields, err := structpb.NewStruct(data)
	check(err)
	answer, err := client.ScheduleJob(ctx, &pb.ScheduleJobRequest{
		Job:  &pb.JobSpec{Queue: jobs.Queue, Type: "conformance.echo", Payload: &pb.JobSpec_Data{Data: fields}},
		When: &pb.ScheduleJobRequest_Delay{Delay: durationpb.New(in)},
	})
	check(err)
	return answer.Job
}

// explain prints an error and its details: the reason, and each field that is wrong.
func explain(err error) {
	fmt.Println(err)
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println(detail.Reason)
		case *errdetails.BadRequest:
			for _, wrong := range detail.FieldViolations {
				fmt.Println(wrong.Field, wrong.Description)
			}
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
