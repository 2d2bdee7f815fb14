// What users of BullMQ do to a Redis: node bullmq_writes.mjs URL PREFIX SCENE [ARGUMENT...]; writes JSON to standard output.
import { FlowProducer, Queue, UnrecoverableError, Worker } from "bullmq";
import { Redis } from "ioredis";

const [url, prefix, scene, ...rest] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const settings = { connection: { host, port: Number(port), maxRetriesPerRequest: null }, prefix };
const HOUR = 3_600_000;
const redis = new Redis(url); // looks at keys that BullMQ does not show

const queue = (name) => new Queue(name, settings);
const worker = (name, handler, options = {}) =>
  new Worker(name, handler, { ...settings, autorun: false, drainDelay: 1, ...options });

async function until(true_) {
  while (!(await true_())) await new Promise((resolve) => setTimeout(resolve, 5));
}

// A worker takes a job, and is no more seen: its lock runs out, and others notice.
async function stall(q, lost, name) {
  const job = await lost.getNextJob("token");
  if (job.name !== name) throw new Error(`${job.name} came, not ${name}`);
  await until(async () => (await redis.exists(q.toKey(job.id) + ":lock")) === 0);
  for (let checks = 0; checks < 2; checks++) {
    await redis.del(q.toKey("stalled-check"));
    await lost.moveStalledJobsToWait();
  }
}

const scenes = {
  // Everything that bears on the order of what waits. The argument says which of it.
  async order(kind) {
    const q = queue("order");
    const add = (name, options) => q.add(name, { name }, options);
    if (kind === "plain") {
      for (const n of [1, 2, 3]) await add(`fifo-${n}`);
    }
    if (kind === "lifo") {
      for (const n of [1, 2, 3]) await add(`fifo-${n}`);
      for (const n of [1, 2, 3]) await add(`lifo-${n}`, { lifo: true });
      await add("fifo-4");
    }
    if (kind === "priorities") {
      for (const priority of [5, 0, 1, 2_000_000, 5, 3, 0, 1, 2 ** 21 - 1]) await add(`priority-${priority}`, { priority });
    }
    if (kind === "retried by hand") {
      const lost = worker("order", null);
      const failing = await add("urgent", { priority: 1 });
      await (await lost.getNextJob("token")).moveToFailed(new Error("no"), "token");
      await add("fifo");
      await add("priority-4", { priority: 4 });
      await (await q.getJob(failing.id)).retry();
    }
    if (kind === "stalled") {
      await add("stalls", { priority: 9 });
      await stall(q, worker("order", null, { lockDuration: 50, maxStalledCount: 5 }), "stalls");
      for (const priority of [2, 0]) await add(`priority-${priority}`, { priority });
    }
    if (kind === "due by now") {
      await add("late", { delay: 30 });
      await add("later", { delay: 31 });
      await add("urgent-and-late", { delay: 32, priority: 1 });
      await add("fifo");
      await add("priority-9", { priority: 9 });
      const added = Date.now();
      await until(() => Date.now() > added + 40);
    }
  },

  // A worker with one hand runs what waits; the names in the order in which it did.
  async run(name, count) {
    const names = [];
    await new Promise((resolve) => {
      worker(name, async (job) => void (names.push(job.name) === Number(count) && resolve())).run();
    });
    return names;
  },

  // A job in each state, by real workers.
  async states() {
    const q = queue("states");
    const handlers = {
      "fails-twice": () => {
        throw new TypeError("no such\nfield");
      },
      "fails-once": () => {
        throw new Error("the first of three");
      },
      "fails-for-good": () => {
        throw new UnrecoverableError("do not try again");
      },
      works: async (job) => {
        if (job.attemptsMade === 0) throw new Error("not yet");
        await job.updateProgress({ step: 2 });
        await job.log("a line");
        return { sum: job.data.a + 1, list: [1, null, "ü"] };
      },
      "returns-nothing": async (job) => void (await job.updateProgress(40)),
    };
    await q.add("fails-twice", { a: 1 }, { attempts: 2 });
    await q.add("fails-once", { a: 2 }, { attempts: 3, backoff: { type: "exponential", delay: HOUR, jitter: 0.5 } });
    await q.add("fails-for-good", {}, { attempts: 5 });
    await q.add("works", { a: 1 }, { attempts: 5 });
    await q.add("returns-nothing", {});
    const works = worker("states", (job) => handlers[job.name](job));
    let ended = 0;
    await new Promise((resolve) => {
      const one = () => ++ended === 7 && resolve(); // "fails-twice" and "works" twice each
      works.on("completed", one);
      works.on("failed", one);
      works.run();
    });
    await works.close();

    const lost = worker("states", null, { lockDuration: 50, maxStalledCount: 1 });
    await q.add("is-stuck", { a: 3 }, { lifo: true });
    for (let times = 0; times < 2; times++) await stall(q, lost, "is-stuck");
    const buries = worker("states", async () => {}); // what stalled too often fails as soon as a worker has it
    const failed = new Promise((resolve) => buries.once("failed", resolve));
    buries.run();
    await failed;
    await buries.close();
    await q.add("stalled-once", { a: 4 }, { lifo: true });
    await stall(q, lost, "stalled-once");
    await q.add("waits", { a: 5 });
    await q.add("has-a-priority", { a: 6 }, { priority: 3 });
    await q.add("delayed", { a: 7 }, { delay: HOUR, priority: 3 });
    const running = await q.add("runs", { a: 8 }, { lifo: true });
    await worker("states", null, { lockDuration: HOUR }).getNextJob("token");
    return { running: running.id };
  },

  async deferred() {
    const q = queue("deferred");
    const lost = worker("deferred", null, { lockDuration: 50, maxStalledCount: 0 });
    await q.add("is-stuck", { a: 3 });
    await stall(q, lost, "is-stuck");
  },

  async options() {
    const q = queue("options");
    const add = (name, options) => q.add(name, { name }, options);
    await add("fixed", { attempts: 4, backoff: 1500 });
    await add("exponential", { attempts: 4, backoff: { type: "exponential", delay: 1500, jitter: 0.25 } });
    await add("at-once", { attempts: 2 });
    await add("custom", { attempts: 3, backoff: { type: "mine" } });
    await add("once");
    await add("goes-at-once", { removeOnComplete: true, removeOnFail: true });
    await add("kept-by-age", { removeOnComplete: { age: 60 }, removeOnFail: { age: 3600, limit: 5 } });
    await add("kept-by-number", { removeOnComplete: 50, removeOnFail: { count: 9 } });
    await add("deduplicated", { deduplication: { id: "same", ttl: HOUR } });
    await add("own-id", { jobId: "order-7/ü" });
    await q.setGlobalConcurrency(4);
    await q.setGlobalRateLimit(10, 1000);
  },

  async follower() {
    const q = queue("follower");
    const once = { deduplication: { id: "same", keepLastIfActive: true } };
    await q.add("first", { n: 1 }, once);
    await worker("follower", null, { lockDuration: HOUR }).getNextJob("token");
    await q.add("second", { n: 2 }, once);
  },

  async paused() {
    const q = queue("paused");
    await q.add("first", {});
    await q.pause();
    await q.add("second", {});
    await queue("going").add("one", {});
  },

  async schedulers() {
    const q = queue("schedulers");
    const nightly = { name: "clean", data: { name: "nightly" } };
    await q.upsertJobScheduler("nightly", { pattern: "0 0 3 * * *", tz: "Europe/Berlin" }, nightly);
    await q.upsertJobScheduler("often", { every: 300_000 }, { name: "look", data: { name: "often" } });
  },

  // The first run of an interval is due at once.
  async late_repeats() {
    await queue("repeats").upsertJobScheduler("look", { every: 3_600_000 }, { name: "look", data: { name: "look" } });
  },

  // The first run has failed, and comes again; the second waits for its time.
  async tried_repeats() {
    const q = queue("repeats");
    const opts = { attempts: 2, backoff: HOUR };
    await q.upsertJobScheduler("look", { every: HOUR }, { name: "look", data: { name: "look" }, opts });
    const tries = worker("repeats", null);
    await (await tries.getNextJob("token")).moveToFailed(new Error("not yet"), "token", false);
  },

  async promoted_repeats() {
    const q = queue("repeats");
    const nightly = { name: "nightly", data: { name: "nightly" } };
    await q.upsertJobScheduler("nightly", { pattern: "0 3 * * *", tz: "UTC" }, nightly);
    const [job] = await q.getDelayed();
    await job.promote();
  },

  async ended_repeats() {
    const q = queue("repeats");
    await q.upsertJobScheduler("once", { every: HOUR, limit: 1 }, { name: "once", data: { name: "once" } });
    const runs = worker("repeats", async () => {});
    const done = new Promise((resolve) => runs.once("completed", resolve));
    runs.run();
    await done;
  },

  // A parent that waits for two children; one whose children are done; and a child that has failed.
  async flow() {
    const flows = new FlowProducer(settings);
    const child = (name, n) => ({ name, queueName: "children", data: { n } });
    await flows.add({ name: "waiting", queueName: "parents", data: {}, children: [child("one", 1), child("two", 2)] });
    await flows.add({ name: "ready", queueName: "parents", data: {}, children: [child("three", 3)] });
    const works = worker("children", async (job) => job.data.n);
    for (const name of ["one", "two", "three"]) {
      const job = await works.getNextJob(name);
      if (name === "three") await job.moveToCompleted({ n: 3 }, name, false);
      else await job.moveToDelayed(Date.now() + HOUR, name).catch(() => {});
    }
  },

  async bulk(count) {
    const q = queue("bulk");
    const size = 1_000;
    for (let start = 0; start < Number(count); start += size) {
      const jobs = Array.from({ length: Math.min(size, count - start) }, (_, n) => ({
        name: "resize",
        data: { path: `images/${start + n}.png`, width: 800, height: 600, tags: ["a", "b"] },
        opts: { attempts: 3, backoff: { type: "fixed", delay: 1000 } },
      }));
      await q.addBulk(jobs);
    }
  },
};

const said = (await scenes[scene](...rest)) ?? {};
process.stdout.write(JSON.stringify(said), () => process.exit(0)); // locks stay, as when a worker is killed
