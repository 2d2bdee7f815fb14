// Rules that are left, and their like beside them, run by the library's own worker.
// node recurring_live.mjs bull|bullmq|4|5|6|hokify URL PLACE
// Writes rules into PLACE (a prefix, or a collection) and the same into PLACE-live, where it goes on running them until
// it is killed. Says "written", and then of each run, a line each: {rule, time: its nominal time in ms}.
import { opened } from "./agenda_opened.mjs";

const [system, url, place] = process.argv.slice(2);
const live = `${place}-live`;
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const crons = {
  "each-3-s": { cron: "*/3 * * * * *", zone: "Europe/Berlin" },
  "each-2-s": { cron: "*/2 * * * * *", zone: "Asia/Kolkata" },
};

async function bull() {
  const { default: Queue } = await import("bull");
  const rules = { ...crons, "by-interval": { every: 2_000 } };
  for (const prefix of [live, place]) {
    const queue = new Queue("recurring", url, { prefix });
    const run = async (job) => say({ rule: job.name, time: Number(job.id.split(":").at(-1)) });
    if (prefix === live) for (const name of Object.keys(rules)) queue.process(name, 5, run);
    for (const [name, { zone: tz, ...rule }] of Object.entries(rules)) {
      await queue.add(name, { rule: name }, { repeat: { ...rule, ...(tz && { tz }) } });
    }
  }
}

async function bullmq() {
  const { Queue, Worker } = await import("bullmq");
  const connection = { host: new URL(url).hostname, port: Number(new URL(url).port), maxRetriesPerRequest: null };
  const rules = { ...crons, "by-interval": { every: 2_000, offset: 700 } };
  for (const prefix of [live, place]) {
    const queue = new Queue("recurring", { connection, prefix });
    const run = async (job) => say({ rule: job.name, time: Number(job.id.split(":").at(-1)) });
    if (prefix === live) new Worker("recurring", run, { connection, prefix, concurrency: 15 });
    for (const [name, { cron, zone, ...rule }] of Object.entries(rules)) {
      const repeat = cron ? { pattern: cron, tz: zone } : rule;
      await queue.upsertJobScheduler(name, repeat, { name, data: { rule: name } });
    }
  }
}

async function agenda() {
  for (const collection of [live, place]) {
    const { agenda } = await opened(system, url, collection);
    for (const [name, { cron, zone }] of Object.entries(crons)) {
      // As a run begins, the next one is reckoned.
      const run = async (job) => say({ rule: name, time: job.attrs.nextRunAt.getTime() });
      if (system === "4" || system === "5") agenda.define(name, {}, run);
      else agenda.define(name, run);
      await agenda.every(cron, name, { rule: name }, { timezone: zone });
    }
    if (collection === live) await agenda.start();
  }
}

await ({ bull, bullmq }[system] ?? agenda)();
say("written");
