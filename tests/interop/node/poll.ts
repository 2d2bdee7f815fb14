// A worker of plain calls: a long poll for jobs, and calls for heartbeats and outcomes.
import { randomUUID } from "node:crypto";
import { setTimeout as rest } from "node:timers/promises";
import { type CallOptions, type ClientUnaryCall, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { ExtendLeasesResponse, Heartbeat, LeaseJobsResponse } from "./gen/tocsin/v1/worker_service.js";
import type { ReportOutcomesResponse, WorkerServiceClient } from "./gen/tocsin/v1/worker_service.js";
import { LeaseJobsRequest } from "./gen/tocsin/v1/worker_service.js";
import { Held, stop } from "./held.js";
import { concurrency, connect, heartbeatMs, lease, me, patience, queue, types } from "./settings.js";
import { flushed } from "./traces.js";

const held = new Held(report);
const clients = connect();
let current = 0; // the server to call: the next one after each failure
let polling: ClientUnaryCall | undefined;
let reporting = false;
let wake = () => {}; // a slot may be free again

stop.addEventListener("abort", () => {
  polling?.cancel();
  wake();
});
setInterval(() => extend(held.heartbeats()), heartbeatMs);
while (!stop.aborted || held.open > 0) {
  if (!stop.aborted && held.open < concurrency) await poll();
  else await new Promise<void>((resolve) => (wake = resolve));
}
await flushed();
process.exit(0);

// Waits for jobs, as many as slots are free. When it is stopped, it leases none.
async function poll(): Promise<void> {
  const asks = [{ queue, types, maxJobs: concurrency - held.open }];
  // With the id the same jobs are leased again where the answer was lost.
  const request = LeaseJobsRequest.fromPartial({ worker: me, asks, lease, requestId: randomUUID() });
  const answer = await call<LeaseJobsResponse>(
    (client, options, then) => (polling = client.leaseJobs(request, new Metadata(), options, then)), 30_000, stop,
  );
  held.begin(answer?.jobs ?? []);
}

async function extend(heartbeats: Heartbeat[]): Promise<void> {
  if (heartbeats.length === 0) return;
  const request = { worker: me, heartbeats, lease };
  const answer = await call<ExtendLeasesResponse>(
    (client, options, then) => client.extendLeases(request, new Metadata(), options, then), heartbeatMs / 2,
    AbortSignal.timeout(heartbeatMs), // the next one may be heard
  );
  held.extended(heartbeats, answer?.results ?? []);
}

// Tells how attempts ended until a server has heard it.
async function report(): Promise<void> {
  if (reporting) return;
  reporting = true;
  for (let { words, outcomes } = held.take(); outcomes.length > 0; { words, outcomes } = held.take()) {
    for (const beat of words) await extend([beat]);
    const request = { worker: me, outcomes };
    const answer = await call<ReportOutcomesResponse>(
      (client, options, then) => client.reportOutcomes(request, new Metadata(), options, then), 10_000,
    );
    held.acknowledged(answer!.results);
  }
  reporting = false;
  wake();
}

type Then<A> = (error: ServiceError | null, answer: A) => void;
type Make<A> = (client: WorkerServiceClient, options: Partial<CallOptions>, then: Then<A>) => ClientUnaryCall;

/** Makes a call, each time with a deadline, until a server answers; undefined once it is stopped. All calls of a worker
 * may be made again: the same outcome twice is OK, and so is a heartbeat. */
async function call<A>(make: Make<A>, deadlineMs: number, stopped?: AbortSignal): Promise<A | undefined> {
  for (let failures = 1; !stopped?.aborted; failures++) {
    const server = current;
    try {
      return await new Promise<A>((resolve, reject) => {
        const options = { deadline: Date.now() + deadlineMs };
        make(clients[server % clients.length], options, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    } catch (error) {
      if (stopped?.aborted) break;
      console.error(`a call failed: ${(error as Error).message}`);
      if (current === server) current++;
      await rest(patience(failures));
    }
  }
}
