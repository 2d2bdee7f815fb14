// What a worker has: attempts that run, and what no server has acknowledged. It outlives connections.
import { status } from "@grpc/grpc-js";
import { Attempt, Release } from "./attempt.js";
import type { ExtendLeasesResponse_Result, Heartbeat, LeasedJob } from "./gen/tocsin/v1/worker_service.js";
import type { Outcome, ReportOutcomesResponse_Result } from "./gen/tocsin/v1/worker_service.js";
import { graceMs } from "./settings.js";

const ending = new AbortController();
process.on("SIGTERM", () => ending.abort()).on("SIGINT", () => ending.abort());

/** Aborted once this process is told to end. */
export const stop = ending.signal;

export class Held {
  private readonly attempts = new Map<string, Attempt>(); // by token
  private words: Heartbeat[] = []; // the last of attempts that have ended, to be sent before the outcomes
  private unsent: Outcome[] = [];
  private sent: Outcome[] = []; // and not acknowledged, in their order
  private later = 0; // outcomes that wait to be sent once more

  /** `changed` is called when an attempt has ended, and when something is to be sent once more. */
  constructor(private readonly changed: () => void) {
    const giveBack = () => this.attempts.forEach((attempt) => attempt.stop(new Release("the worker shuts down")));
    stop.addEventListener("abort", () => setTimeout(giveBack, graceMs).unref());
  }

  /** How many attempts run. */
  get running(): number {
    return this.attempts.size;
  }

  /** How many attempts no server knows the end of. */
  get open(): number {
    return this.attempts.size + this.unsent.length + this.sent.length + this.later;
  }

  /** Runs what was leased, and says how many that are: of a lease that it knows, it begins no second attempt. */
  begin(leased: LeasedJob[]): number {
    const before = this.attempts.size;
    for (const job of leased) {
      const token = job.token.toString("hex");
      if (!this.attempts.has(token)) this.attempts.set(token, new Attempt(job, (...ended) => this.end(...ended)));
    }
    return this.attempts.size - before;
  }

  private end(attempt: Attempt, outcome: Outcome): void {
    this.attempts.delete(attempt.token);
    if (!attempt.lost) {
      this.words.push(...attempt.lastWords());
      this.unsent.push(outcome);
    }
    this.changed();
  }

  cancel(token: Buffer, reason = ""): void {
    this.attempts.get(token.toString("hex"))?.stop(new Release(`cancelled: ${reason}`));
  }

  /** Its outcome would not be taken. Its slot is free once the attempt has ended. */
  lose(token: Buffer): void {
    this.attempts.get(token.toString("hex"))?.lose();
  }

  /** One for each lease. */
  heartbeats(): Heartbeat[] {
    return this.leases().map((attempt) => attempt.heartbeat());
  }

  /** Takes the answers to heartbeats. */
  extended(heartbeats: Heartbeat[], answers: ExtendLeasesResponse_Result[]): void {
    answers.forEach(({ lost, cancel }, n) => {
      if (cancel) this.cancel(heartbeats[n].token, cancel.reason);
      if (lost) this.lose(heartbeats[n].token);
    });
  }

  /** Those of all leases, for a new stream. What the last one did not acknowledge is to be sent again. */
  tokens(): Buffer[] {
    this.unsent.unshift(...this.sent.splice(0));
    return this.leases().map((attempt) => attempt.leased.token);
  }

  /** What is to be sent now: last words, each in a message of its own, then outcomes. */
  take(): { words: Heartbeat[]; outcomes: Outcome[] } {
    const taken = { words: this.words.splice(0), outcomes: this.unsent.splice(0) };
    this.sent.push(...taken.outcomes);
    return taken;
  }

  /** Takes the answers to the first outcomes that were sent. */
  acknowledged(answers: ReportOutcomesResponse_Result[]): void {
    for (const { error } of answers) {
      const outcome = this.sent.shift()!;
      if (error?.code === status.UNAVAILABLE || error?.code === status.DEADLINE_EXCEEDED) this.again(outcome);
      else if (error) console.error(`an outcome was not taken: ${error.message}`); // the job runs again, or has
    }
  }

  private again(outcome: Outcome): void {
    this.later++; // the store is away
    setTimeout(() => {
      this.later--;
      this.unsent.push(outcome);
      this.changed();
    }, 1000);
  }

  private leases(): Attempt[] {
    return [...this.attempts.values()].filter((attempt) => !attempt.lost);
  }
}
