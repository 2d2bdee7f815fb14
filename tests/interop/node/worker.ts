// A worker that has everything on one stream: outcomes and credits up, jobs and cancels down.
import { setTimeout as rest } from "node:timers/promises";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { type DeepPartial, type Heartbeat, StreamJobsRequest } from "./gen/tocsin/v1/worker_service.js";
import type { StreamJobsResponse, WorkerServiceClient } from "./gen/tocsin/v1/worker_service.js";
import { Held, stop } from "./held.js";
import { concurrency, connect, heartbeatMs, lease, me, patience, queue, types } from "./settings.js";
import { flushed } from "./traces.js";

const held = new Held(soon);
const clients = connect();
let stream: ClientDuplexStream<StreamJobsRequest, StreamJobsResponse> | undefined;
let given = 0; // credits that no job has come for
let due: NodeJS.Timeout | undefined; // when to say how attempts ended

const done = () => stop.aborted && held.open === 0;
const send = (message: DeepPartial<StreamJobsRequest>) => stream?.write(StreamJobsRequest.fromPartial(message));

stop.addEventListener("abort", goodbye);
for (let server = 0, failures = 0; !done(); server++) {
  const begun = Date.now();
  await work(clients[server % clients.length]);
  failures = Date.now() - begun > 10_000 ? 0 : failures + 1;
  if (!done()) await rest(patience(failures));
}
await flushed();
process.exit(0);

// One stream, from hello to its end. When it is cut, attempts go on, and the next one's hello names them.
async function work(client: WorkerServiceClient): Promise<void> {
  const beat = () => say(held.heartbeats());
  let heartbeat = setInterval(beat, heartbeatMs);
  const opened = (stream = client.streamJobs());
  opened.on("error", (error) => console.error(`the stream ended: ${error.message}`));
  opened.on("data", (message: StreamJobsResponse) => {
    const every = message.welcome?.heartbeatEvery;
    if (every) {
      clearInterval(heartbeat); // more often for a while, where there are leases of an earlier stream
      heartbeat = setInterval(beat, every.seconds * 1000 + every.nanos / 1e6);
    }
    hear(message);
  });
  const end = new Promise((resolve) => opened.on("status", resolve));
  send({ hello: { worker: me, lease, asks: [{ queue, types }], heldTokens: held.tokens() } });
  given = 0;
  if (stop.aborted) goodbye();
  else say();
  await end;
  stream = undefined;
  clearInterval(heartbeat);
}

function hear(message: StreamJobsResponse): void {
  given -= held.begin(message.leased);
  for (const { token, wish } of message.cancels) held.cancel(token, wish?.reason);
  for (const token of message.lost) held.lose(token);
  held.acknowledged(message.acks);
  if (message.drain) stream?.cancel(); // on to the next server, or to this one when it is back
  endIfDone();
}

// An attempt has ended. What ends meanwhile goes along.
function soon(): void {
  due ??= setTimeout(say, 1);
}

// Sends what this stream was not sent yet.
function say(heartbeats: Heartbeat[] = []): void {
  clearTimeout(due);
  due = undefined;
  if (!stream) return;
  const { words, outcomes } = held.take();
  for (const beat of words) send({ heartbeats: [beat] });
  const free = stop.aborted ? 0 : concurrency - held.running - given;
  given += free;
  send({ heartbeats, outcomes, credits: free > 0 ? [{ n: free }] : [] });
  endIfDone();
}

function goodbye(): void {
  send({ goodbye: {} });
  say();
}

function endIfDone(): void {
  if (!done()) return;
  stream?.end();
  stream = undefined;
}
