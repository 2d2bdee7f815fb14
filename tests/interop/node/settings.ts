// What the environment says, for both workers and the client.
import { hostname } from "node:os";
import { credentials } from "@grpc/grpc-js";
import { WorkerServiceClient } from "./gen/tocsin/v1/worker_service.js";
import { handlers } from "./handlers.js";

const { TOCSIN_SERVER, TOCSIN_QUEUE, TOCSIN_CONCURRENCY, TOCSIN_LEASE } = process.env;

export const servers = (TOCSIN_SERVER || "localhost:50051").split(",");
export const queue = TOCSIN_QUEUE || "default";
export const concurrency = Number(TOCSIN_CONCURRENCY || "10");
export const lease = { seconds: parseInt(TOCSIN_LEASE || "30s"), nanos: 0 };
export const heartbeatMs = Math.floor((lease.seconds * 1000) / 3);
export const graceMs = 25_000; // how long attempts may go on once the worker is told to stop; then they are given back

/** This process: a name that no other has. */
const name = `example-node-${hostname()}-${process.pid}`;
export const me = { name, version: "1.0.0", language: "typescript", labels: {} };
export const types = Object.keys(handlers);

/** A client for each server. */
export function connect(): WorkerServiceClient[] {
  const alive = { "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 5_000 };
  const soon = { "grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 1000 };
  return servers.map((server) => new WorkerServiceClient(server, credentials.createInsecure(), { ...alive, ...soon }));
}

/** How long to wait before the next server is tried: 0.2 s at first, 5 s at most. */
export function patience(failures: number): number {
  return Math.min(200 * 2 ** failures, 5000);
}
