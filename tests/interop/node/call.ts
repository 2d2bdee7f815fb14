// Plain calls to one of several servers.
import { setTimeout as rest } from "node:timers/promises";
import { type CallOptions, type ClientUnaryCall, credentials, type ServiceError } from "@grpc/grpc-js";
import { WorkerServiceClient } from "./gen/tocsin/v1/worker_service.js";
import { patience, servers } from "./settings.js";

type Answer<A> = (error: ServiceError | null, answer: A) => void;
type Make<A> = (client: WorkerServiceClient, options: Partial<CallOptions>, then: Answer<A>) => ClientUnaryCall;

const soon = { "grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 1000 };
const clients = servers.map((server) => new WorkerServiceClient(server, credentials.createInsecure(), soon));
let current = 0; // the server to call: the next one after each failure

/** Makes a call, each time with a deadline, until a server answers; undefined once it is stopped. All calls of a worker
 * may be made again: the same outcome twice is OK, and so is a heartbeat. */
export async function call<A>(make: Make<A>, deadlineMs: number, stop?: AbortSignal): Promise<A | undefined> {
  for (let failures = 1; !stop?.aborted; failures++) {
    const server = current;
    try {
      return await once(make, clients[server % clients.length], deadlineMs, stop);
    } catch (error) {
      if (stop?.aborted) break;
      console.error(`a call failed: ${(error as Error).message}`);
      if (current === server) current++;
      await rest(patience(failures), undefined, { signal: stop }).catch(() => {});
    }
  }
}

function once<A>(make: Make<A>, client: WorkerServiceClient, deadlineMs: number, stop?: AbortSignal): Promise<A> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    const made = make(client, options, (error, answer) => {
      stop?.removeEventListener("abort", cancel);
      if (error) reject(error);
      else resolve(answer);
    });
    const cancel = () => made.cancel();
    stop?.addEventListener("abort", cancel);
  });
}
