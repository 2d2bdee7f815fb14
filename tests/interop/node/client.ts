// Schedules a job, waits for it, lists, cancels one, and reads what is wrong with another.
import { readFileSync } from "node:fs";
import { type CallOptions, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { type Job, Job_State, job_StateToJSON } from "./gen/tocsin/v1/job.js";
import * as pb from "./gen/tocsin/v1/job_service.js";
import { queue, servers } from "./settings.js";
import { flushed, within } from "./traces.js";

// Which calls may be repeated, and how long each may take: the file stands beside the protos.
const options = { "grpc.service_config": readFileSync("service_config.json", "utf8") };
const client = new pb.JobServiceClient(servers[0], credentials.createInsecure(), options);

type Method<Q, A> = (
  request: Q, metadata: Metadata, options: Partial<CallOptions>, then: (error: ServiceError | null, answer: A) => void,
) => void;

/** A call that may take 10 seconds. */
function call<Q, A>(method: Method<Q, A>, request: Q, metadata = new Metadata()): Promise<A> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 10_000 };
    method.call(client, request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function schedule(data: Record<string, unknown>, seconds: number): Promise<Job> {
  const job = { queue, type: "conformance.echo", data };
  const request = pb.ScheduleJobRequest.fromPartial({ job, delay: { seconds } });
  return (await within("ScheduleJob", (metadata) => call(client.scheduleJob, request, metadata))).job!;
}

/** Prints an error and its details: the reason, and each field that is wrong. */
function explain(error: ServiceError): void {
  console.log(error.message);
  for (const body of error.metadata.get("grpc-status-details-bin") as Buffer[])
    for (const { typeUrl, value } of Status.decode(body).details) {
      if (typeUrl.endsWith("/google.rpc.ErrorInfo")) console.log(ErrorInfo.decode(value).reason);
      if (typeUrl.endsWith("/google.rpc.BadRequest"))
        for (const wrong of BadRequest.decode(value).fieldViolations) console.log(wrong.field, wrong.description);
    }
}

const { jobId } = await schedule({ name: "Ada" }, 1);
for await (const change of client.watchJobs(pb.WatchJobsRequest.fromPartial({ queue, jobId })))
  console.log(job_StateToJSON(change.job.state));
const done = await call(client.getJob, pb.GetJobRequest.fromPartial({ queue, jobId }));
console.log(done.job!.result!.data);

const later = await schedule({ name: "Grace" }, 3600);
const list = await call(client.listJobs, pb.ListJobsRequest.fromPartial({ queue, states: [Job_State.SCHEDULED] }));
console.log(list.jobs[0].jobId === later.jobId);
const cancel = pb.CancelJobRequest.fromPartial({ queue, jobId: later.jobId, reason: "moved" });
console.log(job_StateToJSON((await call(client.cancelJob, cancel)).job!.state));

await call(client.scheduleJob, pb.ScheduleJobRequest.fromPartial({ job: { type: "no spaces" } })).catch(explain);
await flushed();
