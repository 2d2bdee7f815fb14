// The types that these workers run: those that `tocsin conformance` schedules. Yours take their place.
import { createHash } from "node:crypto";
import { setTimeout as rest } from "node:timers/promises";
import { type Attempt, Failure, Release } from "./attempt.js";
import type { Result } from "./gen/tocsin/v1/job.js";

export const handlers: Record<string, (attempt: Attempt) => Promise<Partial<Result> | undefined>> = {
  "conformance.echo": async ({ job }) => ({ data: job.spec!.data, raw: job.spec!.raw }),

  "conformance.digest": async ({ job }) => ({
    data: createHash("sha256").update(job.spec!.raw!.body).digest("hex"),
  }),

  "conformance.sleep": async ({ data, signal }) => {
    await rest(data.ms, undefined, { signal });
    return { data: "slept" };
  },

  "conformance.fail": async ({ data, job }) => {
    if (data.attempts && job.attempt > data.attempts) return { data: "at last" };
    throw new Failure(data.type, data.message, data.final, data.retry_in_ms);
  },

  "conformance.release": async ({ job }) => {
    if (job.attempt === 1) throw new Release("not now");
    return { data: "now" };
  },

  "conformance.progress": async (attempt) => {
    const { steps, ms } = attempt.data;
    for (let step = 1; step <= steps; step++) {
      attempt.progress(step / steps, `step ${step} of ${steps}`);
      await rest(ms, undefined, { signal: attempt.signal });
    }
    return { data: "done" };
  },

  "conformance.log": async (attempt) => {
    for (let line = 1; line <= attempt.data.lines; line++) {
      const text = `line ${line} `;
      attempt.log(text + "ö".repeat(Math.max(0, attempt.data.bytes - text.length) / 2));
    }
    return { data: "logged" };
  },
};
