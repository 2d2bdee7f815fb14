// A worker of plain calls: a long poll for jobs, and calls for heartbeats and outcomes.
import { randomUUID } from "node:crypto";
import { setTimeout as rest } from "node:timers/promises";
import { Metadata, status } from "@grpc/grpc-js";
import { Attempt, Release } from "./attempt.js";
import { call } from "./call.js";
import type { ExtendLeasesResponse, Heartbeat, Outcome, ReportOutcomesResponse } from "./gen/tocsin/v1/worker_service.js";
import { LeaseJobsRequest, type LeaseJobsResponse } from "./gen/tocsin/v1/worker_service.js";
import { concurrency, graceMs, heartbeatMs, lease, me, queue, types } from "./settings.js";

const running = new Map<string, Attempt>(); // by token
const stop = new AbortController();
let taken = 0; // slots: one for each attempt that no server knows the end of
let freed = () => {}; // called when one is free again

process.on("SIGTERM", () => stop.abort()).on("SIGINT", () => stop.abort());
setInterval(heartbeat, heartbeatMs);
while (!stop.signal.aborted) await poll();
setTimeout(() => running.forEach((attempt) => attempt.stop(new Release("the worker shuts down"))), graceMs).unref();
while (taken > 0) await new Promise<void>((resolve) => (freed = resolve));
process.exit(0);

// Waits for jobs, as many as slots are free. When it is stopped, it leases none.
async function poll(): Promise<void> {
  while (taken === concurrency && !stop.signal.aborted) {
    await new Promise<void>((resolve) => {
      freed = resolve;
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
  const asks = [{ queue, types, maxJobs: concurrency - taken }];
  // With the id the same jobs are leased again where the answer was lost.
  const request = LeaseJobsRequest.fromPartial({ worker: me, asks, lease, requestId: randomUUID() });
  const answer = await call<LeaseJobsResponse>(
    (client, options, then) => client.leaseJobs(request, new Metadata(), options, then), 30_000, stop.signal,
  );
  for (const leased of answer?.jobs ?? []) {
    const token = leased.token.toString("hex");
    if (running.has(token)) continue;
    taken++;
    running.set(token, new Attempt(leased, report));
  }
}

async function heartbeat(): Promise<void> {
  if (running.size > 0) await extend([...running.values()].map((attempt) => attempt.heartbeat()));
}

async function extend(heartbeats: Heartbeat[]): Promise<void> {
  const request = { worker: me, heartbeats, lease };
  const soon = AbortSignal.timeout(heartbeatMs); // the next one may be heard
  const answer = await call<ExtendLeasesResponse>(
    (client, options, then) => client.extendLeases(request, new Metadata(), options, then), heartbeatMs / 2, soon,
  );
  answer?.results.forEach(({ lost, cancel }, n) => {
    const attempt = running.get(heartbeats[n].token.toString("hex"));
    if (!attempt) return;
    if (cancel) attempt.stop(new Release(`cancelled: ${cancel.reason}`));
    if (lost) attempt.lose(); // its outcome would not be taken
  });
}

// Tells how an attempt ended until a server has heard it.
async function report(attempt: Attempt, outcome: Outcome): Promise<void> {
  for (const beat of attempt.lastWords()) await extend([beat]);
  running.delete(attempt.token);
  const request = { worker: me, outcomes: [outcome] };
  for (let again = !attempt.lost; again; ) {
    const answer = await call<ReportOutcomesResponse>(
      (client, options, then) => client.reportOutcomes(request, new Metadata(), options, then), 10_000,
    );
    const refused = answer!.results[0].error;
    if (refused) console.error(`an outcome was not taken: ${refused.message}`);
    again = refused?.code === status.UNAVAILABLE; // the store is away
    if (again) await rest(1000);
  }
  taken--;
  freed();
}
