// Rules of Bull or BullMQ: node bull_recurring.mjs URL bull|bullmq PREFIX
// Writes each rule, and then the same under PREFIX-twin, where the library itself makes one run after the other by a
// clock that is set to each run's time. Says when they were: {rule: [ms, ...]}
import Bull from "bull";
import { Queue } from "bullmq";
import { setClock } from "./recurring_clock.mjs";

const [url, system, prefix] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const redis = { host, port: Number(port), maxRetriesPerRequest: null };
const MINUTE = 60_000;
const RUNS = 6;
const now = Date.now();

const rules = {
  nightly: { cron: "0 3 * * *", tz: "Europe/Berlin" },
  "every other day, or Mondays": { cron: "30 9 */2 * MON", tz: "America/New_York" },
  "last day": { cron: "10 0 9 L * ?", tz: "Asia/Kolkata" },
  "office hours": { cron: "*/20 9-17 * JAN-DEC MON-FRI", tz: "America/Sao_Paulo" },
  "last friday": { cron: "0 12 * * 5L", tz: "UTC" },
  utc: { cron: "0 12 * * 1-5" },
  often: { every: 5 * MINUTE },
  odd: { every: 7_777 },
  thrice: { every: 60 * MINUTE, limit: 3 },
  twice: { cron: "0 6 * * *", tz: "Europe/Berlin", limit: 2 },
  "until then": { cron: "*/5 * * * *", endDate: now + 22 * MINUTE },
  "until then, by interval": { every: 5 * MINUTE, endDate: now + 11 * MINUTE },
  later: { cron: "15 * * * *", startDate: new Date(now + 1_440 * MINUTE) },
};
const ofBullmq = {
  "with offset": { every: 10 * MINUTE, offset: 3 * MINUTE + 7 },
  "without offset": { every: 11 * MINUTE },
  "later, by interval": { every: 10 * MINUTE, startDate: now + 90 * MINUTE },
  "last monday, in words": { cron: "@weekdays", tz: "Asia/Tokyo" },
};

function bull(prefix) {
  const queue = new Bull("recurring", { redis, prefix });
  return {
    add: (name, rule) => queue.add(name, { name }, { repeat: rule, attempts: 2, priority: 7 }),
    // What a worker does as it takes a job.
    next: (job) => queue.nextRepeatableJob(job.name, job.data, job.opts),
    time: (job) => job.opts.timestamp + job.opts.delay,
  };
}

function bullmq(prefix) {
  const queue = new Queue("recurring", { connection: redis, prefix });
  return {
    add: (name, { cron, ...rule }) =>
      queue.upsertJobScheduler(
        name,
        cron ? { ...rule, pattern: cron } : rule,
        { name, data: { name }, opts: { attempts: 2, priority: 7 } },
      ),
    next: async (job) =>
      (await queue.jobScheduler).upsertJobScheduler(job.repeatJobKey, job.opts.repeat, job.name, job.data, job.opts, {
        override: false,
        producerId: job.id,
      }),
    time: (job) => Number(job.id.split(":").at(-1)),
  };
}

const open = system === "bull" ? bull : bullmq;
const times = {};
const [written, twin] = [open(prefix), open(`${prefix}-twin`)];
for (const [name, rule] of Object.entries(system === "bull" ? rules : { ...rules, ...ofBullmq })) {
  setClock(now);
  await written.add(name, rule);
  let job = await twin.add(name, rule);
  times[name] = [];
  while (job && times[name].length < RUNS) {
    const time = twin.time(job);
    times[name].push(time);
    setClock(time + 1);
    job = await twin.next(job);
  }
}
setClock(null);
process.stdout.write(JSON.stringify({ now, times }), () => process.exit(0));
