// One measure of Agenda: `node agenda_driver.mjs '{"measure": "run", "url": ..., "database": ..., "jobs": 200, ...}'`.
// Prints one line of JSON: what was found. agenda.py starts it and says what is asked.
import { readFileSync } from "node:fs";
import { Agenda } from "agenda";
import { MongoBackend, MongoChangeStreamNotificationChannel } from "@agendajs/mongo-backend";
import { MongoClient } from "mongodb";

const asked = JSON.parse(process.argv[2]);
const TYPE = "noop";
const HOUR = 3_600_000;

const client = await MongoClient.connect(asked.url);
const db = client.db(asked.database);
const agenda = new Agenda({
  backend: new MongoBackend({ mongo: db, collection: asked.collection }),
  notificationChannel: asked.streams
    ? new MongoChangeStreamNotificationChannel({ db, collection: asked.collection })
    : undefined,
  processEvery: asked.every, // absent: Agenda's own default
  maxConcurrency: asked.concurrency,
  defaultConcurrency: asked.concurrency,
});
const errors = []; // Agenda goes on after one, at its next interval
agenda.on("error", (error) => errors.push(String(error)));
await agenda.ready;

// Processor seconds of the database's process so far.
function storeSeconds() {
  const fields = readFileSync(`/proc/${asked.store}/stat`, "utf8").split(")").at(-1).trim().split(" ");
  return (Number(fields[11]) + Number(fields[12])) / asked.ticks;
}

async function flying(inFlight, count, call) {
  let next = 0;
  const fly = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, fly));
}

async function timed(work) {
  const store = storeSeconds();
  const own = process.cpuUsage();
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / 1000;
  const spent = process.cpuUsage(own);
  const own_seconds = (spent.user + spent.system) / 1e6;
  return { seconds, own_seconds, store_seconds: storeSeconds() - store };
}

// Waits until the handler has ended so many times and each end is stored, or as long as was allowed.
// Call it before the jobs can start; `seen` says how many there were.
function ends(count) {
  const found = { seen: 0 };
  found.all = new Promise((resolve) => {
    agenda.on("complete", () => {
      if (++found.seen === count) resolve();
    });
    setTimeout(resolve, asked.within * 1000);
  });
  return found;
}

const nothing = async () => {};
const later = () => new Date(Date.now() + HOUR);

// Ids of so many jobs that are due later.
async function scheduled() {
  const ids = [];
  await flying(asked.in_flight, asked.jobs, async () => {
    ids.push((await agenda.schedule(later(), TYPE, asked.data)).attrs._id.toString());
  });
  return ids;
}

const measures = {
  // One job a call; that is all Agenda has.
  async schedule() {
    await flying(asked.in_flight, asked.warm, () => agenda.schedule(later(), TYPE, asked.data));
    return timed(() => flying(asked.in_flight, asked.jobs, () => agenda.schedule(later(), TYPE, asked.data)));
  },

  async cancel() {
    const ids = await scheduled();
    return timed(() => flying(asked.in_flight, ids.length, (n) => agenda.cancel({ id: ids[n] })));
  },

  async cancel_all() {
    const ids = await scheduled();
    return timed(async () => {
      const cancelled = await agenda.cancel({ ids });
      if (cancelled !== ids.length) throw new Error(`${cancelled} of ${ids.length} cancelled`);
    });
  },

  async list() {
    await flying(asked.in_flight, asked.standing, () => agenda.schedule(later(), TYPE, asked.data));
    const page = () => agenda.queryJobs({ name: TYPE, limit: asked.page, sort: { nextRunAt: "asc" } });
    if ((await page()).jobs.length !== asked.page) throw new Error("the page is not full");
    return timed(() => flying(1, asked.jobs, page));
  },

  // From a queue that was filled before.
  async run() {
    await flying(asked.in_flight, asked.jobs, () => agenda.now(TYPE, asked.data));
    agenda.define(TYPE, nothing);
    const ended = ends(asked.jobs);
    const found = await timed(async () => {
      await agenda.start();
      await ended.all;
    });
    return { ...found, seen: ended.seen };
  },

  // An idle system, one job at a time.
  async start() {
    const waits = [];
    let started;
    agenda.define(TYPE, async () => started(performance.now()));
    await agenda.start();
    for (let n = 0; n < asked.jobs; n++) {
      const ended = new Promise((resolve) => agenda.once("complete", resolve));
      const start = new Promise((resolve) => (started = resolve));
      // Else each job would come at the same moment of Agenda's interval, just after it.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * asked.spread));
      const begun = performance.now();
      await agenda.now(TYPE, asked.data);
      waits.push((await start) - begun);
      await ended;
    }
    return { waits };
  },

  // All due at one time.
  async due() {
    const waits = [];
    const due = new Date(Date.now() + asked.ahead);
    agenda.define(TYPE, async () => waits.push(Date.now() - due.getTime()));
    await agenda.start();
    const ended = ends(asked.jobs);
    await flying(asked.in_flight, asked.jobs, () => agenda.schedule(due, TYPE, asked.data));
    await ended.all;
    return { waits };
  },

  // Nothing to do for so many seconds: for the commands that it costs.
  async idle() {
    agenda.define(TYPE, nothing);
    await agenda.start();
    return timed(() => new Promise((resolve) => setTimeout(resolve, asked.seconds * 1000)));
  },
};

const found = await measures[asked.measure]();
process.stdout.write(`${JSON.stringify({ ...found, errors })}\n`);
process.exit(0); // at once: unlocking and closing is not measured
