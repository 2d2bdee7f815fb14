// Three days of an application, by a clock that is moved by hand: what ran, in order, and how long it really took.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example/gen/tocsin/v1"
	"example/jobs"
)

const day = 24 * time.Hour

var channel = must(grpc.NewClient(jobs.Servers[0], grpc.WithTransportCredentials(insecure.NewCredentials())))
var clock = pb.NewClockServiceClient(channel)
var client = pb.NewJobServiceClient(channel)
var schedules = pb.NewScheduleServiceClient(channel)

func main() {
	ctx, free := context.WithTimeout(context.Background(), time.Minute)
	defer free()
	now := must(clock.GetClock(ctx, &pb.GetClockRequest{})).Now.AsTime()
	midnight := now.Truncate(day).Add(day)
	advance(ctx, midnight) // each run begins at the same time of day
	began := time.Now()

	must(pb.NewReminderServiceClient(channel).ScheduleBookingReminders(ctx, &pb.ScheduleBookingRemindersRequest{
		Queue: jobs.Queue, Reminder: &pb.BookingReminder{
			BookingId: "42", BookingTime: timestamppb.New(midnight.Add(3 * day)), EmailTo: []string{"ada@example.com"}}}))
	must(schedules.CreateSchedule(ctx, &pb.CreateScheduleRequest{Schedule: &pb.Schedule{
		Queue: jobs.Queue, ScheduleId: "clean-up", Job: &pb.JobSpec{Queue: jobs.Queue, Type: "conformance.echo"},
		Rule: &pb.Schedule_Cron{Cron: &pb.Cron{Lines: []string{"0 3 * * *"}}}}}))
	twice := must(structpb.NewStruct(map[string]any{"attempts": 2, "type": "Busy", "message": "try later"}))
	schedule(ctx, 10*time.Hour, &pb.JobSpec{Type: "conformance.fail", Payload: &pb.JobSpec_Data{Data: twice},
		Retry: &pb.RetryPolicy{InitialDelay: durationpb.New(time.Hour), MaxDelay: durationpb.New(day), Jitter: new(float64)}})
	lost := schedule(ctx, 0, &pb.JobSpec{Type: "orphan"})
	loseWorker(ctx, "orphan")

	for _, run := range advance(ctx, midnight.Add(3*day)) {
		fmt.Println(run.DueTime.AsTime().Format("02 15:04"), run.Type, run.Attempt, run.State, run.Error)
	}
	fmt.Println(time.Since(began).Milliseconds(), "ms")

	must(schedules.DeleteSchedule(ctx, &pb.DeleteScheduleRequest{Queue: jobs.Queue, ScheduleId: "clean-up"}))
	must(client.CancelJob(ctx, &pb.CancelJobRequest{Queue: jobs.Queue, JobId: lost.JobId}))
}

func schedule(ctx context.Context, in time.Duration, job *pb.JobSpec) *pb.Job {
	job.Queue = jobs.Queue
	when := &pb.ScheduleJobRequest_Delay{Delay: durationpb.New(in)}
	return must(client.ScheduleJob(ctx, &pb.ScheduleJobRequest{Job: job, When: when})).Job
}

// advance moves the clock to a time, and returns the attempts that ended on the way.
func advance(ctx context.Context, to time.Time) (ran []*pb.EndedAttempt) {
	for more := true; more; {
		target := &pb.AdvanceClockRequest_To{To: timestamppb.New(to)}
		done := must(clock.AdvanceClock(ctx, &pb.AdvanceClockRequest{Target: target}))
		ran, more = append(ran, done.Ran...), done.More
	}
	return ran
}

// loseWorker is a worker that is given a job of the type, and dies with it.
func loseWorker(ctx context.Context, jobType string) {
	ctx, die := context.WithCancel(ctx)
	defer die()
	stream := must(pb.NewWorkerServiceClient(channel).StreamJobs(ctx))
	ask := []*pb.LeaseAsk{{Queue: jobs.Queue, Types: []string{jobType}}}
	err := stream.Send(&pb.StreamJobsRequest{
		Hello:   &pb.StreamJobsRequest_Hello{Worker: jobs.Me(), Asks: ask, Lease: durationpb.New(time.Minute)},
		Credits: []*pb.StreamJobsRequest_Credit{{N: 1}}})
	check(err)
	for len(must(stream.Recv()).Leased) == 0 {
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
