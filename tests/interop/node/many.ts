// Schedules many jobs, for tests: `many COUNT MS SPREAD_MS`, due one after the other within the spread.
import { setTimeout as rest } from "node:timers/promises";
import { credentials, Metadata } from "@grpc/grpc-js";
import { JobServiceClient, ScheduleJobRequest, ScheduleJobRequest_OnConflict } from "./gen/tocsin/v1/job_service.js";
import { patience, queue, servers } from "./settings.js";

const [count, ms, spread] = process.argv.slice(2).map(Number);
const clients = servers.map((server) => new JobServiceClient(server, credentials.createInsecure()));
let server = 0;
for (let n = 0; n < count; n++) {
  const delayMs = Math.floor((spread * n) / count);
  const request = ScheduleJobRequest.fromPartial({
    job: { queue, type: "conformance.sleep", data: { ms } },
    jobId: `node-${n}-${delayMs}`,
    delay: { seconds: Math.floor(delayMs / 1000), nanos: (delayMs % 1000) * 1e6 },
    onConflict: ScheduleJobRequest_OnConflict.KEEP, // so that it can be said again where the answer is lost
  });
  while (!(await scheduled(request))) {
    server++;
    await rest(patience(0));
  }
}
clients.forEach((client) => client.close());

function scheduled(request: ScheduleJobRequest): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 10_000 };
    clients[server % clients.length].scheduleJob(request, new Metadata(), options, (error) => {
      if (error) console.error(error.message);
      resolve(!error);
    });
  });
}
