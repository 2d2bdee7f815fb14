// Three days of an application, by a clock that is moved by hand: what ran, in order, and how long it really took.
import { type CallOptions, type Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import * as clocks from "./gen/tocsin/v1/clock_service.js";
import { type JobSpec, job_StateToJSON } from "./gen/tocsin/v1/job.js";
import * as pb from "./gen/tocsin/v1/job_service.js";
import * as reminders from "./gen/tocsin/v1/reminder_service.js";
import * as schedules from "./gen/tocsin/v1/schedule_service.js";
import * as workers from "./gen/tocsin/v1/worker_service.js";
import { me, queue, servers } from "./settings.js";

const dayMs = 86_400_000;

const connect = <C extends Client>(kind: new (server: string, how: ReturnType<typeof credentials.createInsecure>) => C) =>
  new kind(servers[0], credentials.createInsecure());
const clock = connect(clocks.ClockServiceClient);
const client = connect(pb.JobServiceClient);
const recurring = connect(schedules.ScheduleServiceClient);

type Method<Q, A> = (
  request: Q, metadata: Metadata, options: Partial<CallOptions>, then: (error: ServiceError | null, answer: A) => void,
) => void;

function call<Q, A>(on: Client, method: Method<Q, A>, request: Q): Promise<A> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 60_000 };
    method.call(on, request, new Metadata(), options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function schedule(seconds: number, job: Partial<JobSpec>) {
  const request = pb.ScheduleJobRequest.fromPartial({ job: { queue, ...job }, delay: { seconds } });
  return (await call(client, client.scheduleJob, request)).job!;
}

/** Moves the clock to a time; the attempts that ended on the way. */
async function advance(to: Date): Promise<clocks.EndedAttempt[]> {
  const done = await call(clock, clock.advanceClock, clocks.AdvanceClockRequest.fromPartial({ to }));
  return done.more ? [...done.ran, ...(await advance(to))] : done.ran;
}

/** A worker that is given a job of the type, and dies with it. */
async function loseWorker(type: string): Promise<void> {
  const stream = connect(workers.WorkerServiceClient).streamJobs();
  const hello = { worker: me, asks: [{ queue, types: [type] }], lease: { seconds: 60 } };
  stream.write(workers.StreamJobsRequest.fromPartial({ hello, credits: [{ n: 1 }] }));
  await new Promise<void>((resolve, reject) => {
    stream.on("data", (answer: workers.StreamJobsResponse) => answer.leased.length && resolve());
    stream.on("error", reject); // of the cancel below nobody hears any more
  });
  stream.cancel();
}

const { now } = await call(clock, clock.getClock, {});
const midnight = (Math.floor(now!.getTime() / dayMs) + 1) * dayMs;
await advance(new Date(midnight)); // each run begins at the same time of day
const began = performance.now();

const reminder = { bookingId: "42", bookingTime: new Date(midnight + 3 * dayMs), emailTo: ["ada@example.com"] };
const booking = connect(reminders.ReminderServiceClient);
const set = reminders.ScheduleBookingRemindersRequest.fromPartial({ queue, reminder });
await call(booking, booking.scheduleBookingReminders, set);
const nightly = {
  queue, scheduleId: "clean-up", job: { queue, type: "conformance.echo" }, cron: { lines: ["0 3 * * *"] },
};
const create = schedules.CreateScheduleRequest.fromPartial({ schedule: nightly });
await call(recurring, recurring.createSchedule, create);
await schedule(36_000, {
  type: "conformance.fail",
  data: { attempts: 2, type: "Busy", message: "try later" },
  retry: {
    maxAttempts: 3, backoff: 0, jitter: 0, initialDelay: { seconds: 3_600, nanos: 0 }, maxDelay: { seconds: 86_400, nanos: 0 },
  },
});
const lost = await schedule(0, { type: "orphan" });
await loseWorker("orphan");

for (const { dueTime, type, attempt, state, error } of await advance(new Date(midnight + 3 * dayMs)))
  console.log(dueTime!.toISOString().slice(8, 16).replace("T", " "), type, attempt, job_StateToJSON(state), error);
console.log(Math.round(performance.now() - began), "ms");

const old = schedules.DeleteScheduleRequest.fromPartial({ queue, scheduleId: "clean-up" });
await call(recurring, recurring.deleteSchedule, old);
await call(client, client.cancelJob, pb.CancelJobRequest.fromPartial({ queue, jobId: lost.jobId }));
process.exit(0);
