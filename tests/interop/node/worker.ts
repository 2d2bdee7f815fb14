// A worker that has everything on one stream: outcomes and credits up, jobs and cancels down.
import { setTimeout as rest } from "node:timers/promises";
import { type ClientDuplexStream, credentials, status } from "@grpc/grpc-js";
import { Attempt, Release } from "./attempt.js";
import type { DeepPartial, Heartbeat, Outcome, ReportOutcomesResponse_Result } from "./gen/tocsin/v1/worker_service.js";
import { StreamJobsRequest, type StreamJobsResponse, WorkerServiceClient } from "./gen/tocsin/v1/worker_service.js";
import { concurrency, graceMs, heartbeatMs, lease, me, patience, queue, servers, types } from "./settings.js";

const running = new Map<string, Attempt>(); // by token
const ended: Outcome[] = []; // which no server has acknowledged; first those that this stream was sent
let sent = 0; // how many these are
const lastWords: Heartbeat[] = []; // of attempts that have ended; they go before the outcomes
let again = 0; // outcomes that wait to be sent once more
let credits = 0; // to give: one for each attempt that has ended
let stopping = false;
let stream: ClientDuplexStream<StreamJobsRequest, StreamJobsResponse> | undefined;

const idle = () => running.size + ended.length + again === 0;
const held = () => [...running.values()].filter((attempt) => !attempt.lost);
const known = (token: Buffer) => running.get(token.toString("hex"));
const send = (message: DeepPartial<StreamJobsRequest>) => stream?.write(StreamJobsRequest.fromPartial(message));

process.on("SIGTERM", stop).on("SIGINT", stop);
for (let server = 0, failures = 0; !stopping || !idle(); server++) {
  const begun = Date.now();
  await work(servers[server % servers.length]);
  failures = Date.now() - begun > 10_000 ? 0 : failures + 1;
  await rest(stopping && idle() ? 0 : patience(failures));
}
process.exit(0);

// One stream, from hello to its end. When it is cut, attempts go on, and the next one's hello names them.
async function work(server: string): Promise<void> {
  const channel = { "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 5_000 };
  const client = new WorkerServiceClient(server, credentials.createInsecure(), channel);
  const beat = () => send({ heartbeats: held().map((attempt) => attempt.heartbeat()) });
  let heartbeat = setInterval(beat, heartbeatMs);
  const opened = (stream = client.streamJobs());
  const end = new Promise((resolve) => opened.on("status", resolve));
  opened.on("error", (error) => console.error(`the stream ended: ${error.message}`)).on("data", hear);
  opened.on("data", ({ welcome }) => {
    if (!welcome?.heartbeatEvery) return;
    clearInterval(heartbeat); // more often for a while, where there are leases of an earlier stream
    heartbeat = setInterval(beat, welcome.heartbeatEvery.seconds * 1000 + welcome.heartbeatEvery.nanos / 1e6);
  });
  const heldTokens = held().map((attempt) => attempt.leased.token);
  send({ hello: { worker: me, lease, heldTokens, asks: [{ queue, types }] } });
  credits = concurrency - running.size; // those that are lost have their slots still
  sent = 0;
  if (stopping) send({ goodbye: {} });
  flush();
  await end;
  stream = undefined;
  clearInterval(heartbeat);
  client.close();
}

function hear(message: StreamJobsResponse): void {
  for (const leased of message.leased)
    if (!known(leased.token)) running.set(leased.token.toString("hex"), new Attempt(leased, end));
  for (const { token, wish } of message.cancels) known(token)?.stop(new Release(`cancelled: ${wish?.reason}`));
  for (const token of message.lost) known(token)?.lose(); // its outcome would not be taken
  message.acks.forEach(acknowledged);
  if (message.drain) stream?.cancel(); // on to the next server, or to this one when it is back
  flush();
}

function end(attempt: Attempt, outcome: Outcome): void {
  running.delete(attempt.token);
  credits++;
  if (!attempt.lost) {
    lastWords.push(...attempt.lastWords());
    ended.push(outcome);
  }
  flush();
}

// The answer to the first of the outcomes that were sent.
function acknowledged({ error }: ReportOutcomesResponse_Result): void {
  const outcome = ended.shift()!;
  sent--;
  if (error?.code !== status.UNAVAILABLE) {
    if (error) console.error(`an outcome was not taken: ${error.message}`); // the job runs again, or has
    return;
  }
  again++; // the store is away
  setTimeout(() => flush(again--, ended.push(outcome)), 1000);
}

// Sends what this stream was not sent yet.
function flush(..._: unknown[]): void {
  if (!stream) return;
  for (const beat of lastWords.splice(0)) send({ heartbeats: [beat] });
  const outcomes = ended.slice(sent);
  const more = credits > 0 && !stopping ? [{ n: credits }] : [];
  if (outcomes.length > 0 || more.length > 0) send({ outcomes, credits: more });
  sent = ended.length;
  credits = stopping ? credits : 0;
  if (stopping && idle()) stream.end();
}

function stop(): void {
  if (stopping) return;
  stopping = true;
  send({ goodbye: {} });
  setTimeout(() => running.forEach((attempt) => attempt.stop(new Release("the worker shuts down"))), graceMs).unref();
  flush();
}
