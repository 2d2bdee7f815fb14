// One run of a job. What jobs of each type do stands in handlers.ts.
import type { Result } from "./gen/tocsin/v1/job.js";
import { Heartbeat, type LeasedJob, LogLine, LogLine_Level, Outcome } from "./gen/tocsin/v1/worker_service.js";
import { handlers } from "./handlers.js";
import { begin, end } from "./traces.js";

/** An error that says what follows: no further attempt, or one in a while; else the job's retry policy does. */
export class Failure extends Error {
  constructor(type: string, message: string, readonly final = false, readonly retryInMs = 0) {
    super(message);
    this.name = type;
  }
}

/** Gives the job back: no attempt is spent. */
export class Release extends Error {}

/** What a handler is given. It stops when `signal` says so. */
export class Attempt {
  lost = false; // its lease; whoever keeps the attempts notes it here
  readonly signal: AbortSignal;
  private readonly control = new AbortController();
  private said: Partial<Heartbeat> = {};
  private lines: LogLine[] = [];

  constructor(readonly leased: LeasedJob, ended: (attempt: Attempt, outcome: Outcome) => void) {
    this.signal = this.control.signal;
    this.run().then((outcome) => ended(this, outcome));
  }

  get token(): string {
    return this.leased.token.toString("hex");
  }

  get job() {
    return this.leased.job!;
  }

  get data(): Record<string, any> {
    return this.job.spec!.data ?? {};
  }

  stop(why: Error): void {
    this.control.abort(why);
  }

  lose(): void {
    this.lost = true;
    this.stop(new Release("its lease was lost"));
  }

  /** How far it is, 0 to 1. Sent with the next heartbeat. */
  progress(fraction: number, message: string): void {
    this.said = { progress: { fraction, message, updateTime: undefined } };
  }

  /** A line of the job's log. Sent with the next heartbeat. */
  log(text: string, level = LogLine_Level.INFO): void {
    this.lines.push({ text, level });
  }

  /** What was said since the last one, at most 1,000 lines of it. */
  heartbeat(): Heartbeat {
    const beat = { token: this.leased.token, ...this.said, log: this.lines.splice(0, 1000) };
    this.said = {};
    return Heartbeat.fromPartial(beat);
  }

  /** All of it, once the attempt has ended: heartbeats that go before its outcome, each in a message of its own. */
  lastWords(): Heartbeat[] {
    const beats: Heartbeat[] = [];
    while (this.lines.length > 0 || this.said.progress) beats.push(this.heartbeat());
    return beats;
  }

  private async run(): Promise<Outcome> {
    const limit = this.job.spec!.timeout; // the worker sees to it
    const milliseconds = limit ? limit.seconds * 1000 + limit.nanos / 1e6 : 0;
    const late = limit && setTimeout(() => this.stop(new Failure("TIMEOUT", "it took too long")), milliseconds);
    const token = this.leased.token;
    const span = begin(this.job);
    let failed = true;
    try {
      const handler = handlers[this.job.spec!.type];
      if (!handler) throw new Failure("UnknownType", `no handler for ${this.job.spec!.type}`);
      const result: Partial<Result> | undefined = await handler(this);
      failed = false;
      return Outcome.fromPartial({ token, completed: { result } });
    } catch (error) {
      return outcome(token, this.signal.aborted ? this.signal.reason : error); // why it was stopped, not that it was
    } finally {
      clearTimeout(late);
      end(span, failed);
    }
  }
}

function outcome(token: Buffer, error: any): Outcome {
  if (error instanceof Release) return Outcome.fromPartial({ token, released: { reason: error.message } });
  const { name: type = "Error", message = String(error), stack: trace = "", final, retryInMs } = error ?? {};
  const retryAt = retryInMs > 0 && !final ? new Date(Date.now() + retryInMs) : undefined;
  return Outcome.fromPartial({ token, failed: { type, message, trace, final, retryAt } });
}
