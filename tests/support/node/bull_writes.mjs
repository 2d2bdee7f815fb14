// What users of Bull 4 do to a Redis: node bull_writes.mjs URL PREFIX SCENE [ARGUMENT...]; writes JSON to standard output.
import Queue from "bull";

const [url, prefix, scene, ...rest] = process.argv.slice(2);
const HOUR = 3_600_000;
const opened = [];

function queue(name, options = {}) {
  const made = new Queue(name, url, { prefix, ...options });
  opened.push(made);
  return made;
}

// Wait until so many jobs have ended, as a worker's events tell. Give it the handlers before they are set to work.
function ended(of, count) {
  return new Promise((resolve) => {
    let left = count;
    const one = () => --left === 0 && resolve();
    of.on("completed", one);
    of.on("failed", one);
  });
}

async function until(true_) {
  while (!(await true_())) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function stall(of, job) {
  await until(async () => (await of.client.exists(of.toKey(job.id) + ":lock")) === 0);
  for (let checks = 0; checks < 2; checks++) {
    await of.client.del(of.toKey("stalled-check"));
    await of.moveUnlockedJobsToWait();
  }
}

const scenes = {
  // Everything that bears on the order of what waits. The argument says which of it.
  async order(kind) {
    const q = queue("order", kind === "stalled" ? { settings: { lockDuration: 50 } } : {});
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
      for (const priority of [5, 0, 1, 2_000_000, 5, 3, 0, 1, 1_000_000, 2_000_001]) {
        await add(`priority-${priority}`, { priority });
      }
    }
    if (kind === "lifo among priorities") {
      for (const priority of [2, 0, 7]) await add(`priority-${priority}`, { priority });
      for (const n of [1, 2]) await add(`lifo-${n}`, { lifo: true });
      await add("priority-1", { priority: 1 });
      await add("priority-3", { priority: 3 });
      await add("fifo");
    }
    if (kind === "retried by hand") {
      const failing = await add("urgent", { priority: 1 });
      await (await q.getNextJob()).moveToFailed(new Error("no"));
      await add("fifo");
      await add("priority-4", { priority: 4 });
      await (await q.getJob(failing.id)).retry();
    }
    if (kind === "stalled") {
      await add("stalls");
      for (const priority of [2, 0]) await add(`priority-${priority}`, { priority });
      await stall(q, await (await q.getJob((await q.getNextJob()).id)));
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
    const q = queue(name);
    const names = [];
    const done = ended(q, Number(count));
    q.process("*", 1, async (job) => void names.push(job.name));
    await done;
    return names;
  },

  // A job in each state, by real workers.
  async states() {
    const q = queue("states");
    const failures = {
      "fails-twice": () => {
        throw new TypeError("no such\nfield");
      },
      "fails-once": () => {
        throw new Error("the first of three");
      },
      "is-no-error": () => {
        throw "a string";
      },
    };
    const failed = new Promise((resolve) => q.on("failed", (job) => job.name === "fails-once" && resolve()));
    const done = ended(q, 6); // "fails-twice" counts twice
    for (const [name, fail] of Object.entries(failures)) q.process(name, 1, fail);
    q.process("works", 1, async (job) => {
      await job.progress(40);
      await job.log("a line");
      return { sum: job.data.a + 1, list: [1, null, "ü"] };
    });
    q.process("returns-nothing", 1, async () => {});
    await q.add("fails-twice", { a: 1 }, { attempts: 2 });
    await q.add("fails-once", { a: 2 }, { attempts: 3, backoff: { type: "exponential", delay: HOUR } });
    await q.add("is-no-error", {});
    await q.add("works", { a: 1 }, { attempts: 5 });
    await q.add("returns-nothing", {});
    await Promise.all([done, failed]);
    await q.close();
    opened.pop();

    const later = queue("states", { settings: { lockDuration: 50, maxStalledCount: 1 } });
    await later.add("is-stuck", { a: 3 }, { lifo: true });
    for (let times = 0; times < 2; times++) await stall(later, await later.getNextJob());
    await later.add("stalled-once", { a: 4 }, { lifo: true });
    await stall(later, await later.getNextJob());
    await later.add("waits", { a: 5 });
    await later.add("delayed", { a: 6 }, { delay: HOUR, priority: 3 });
    const running = queue("states");
    const lifo = await running.add("runs", { a: 7 }, { lifo: true });
    await running.getNextJob();
    return { running: lifo.id };
  },

  // Options that a job can have.
  async options() {
    const q = queue("options");
    const add = (name, options) => q.add(name, { name }, options);
    await add("fixed", { attempts: 4, backoff: 1500 });
    await add("exponential", { attempts: 4, backoff: { type: "exponential", delay: 1500 } });
    await add("at-once", { attempts: 2 });
    await add("custom", { attempts: 3, backoff: { type: "mine", delay: 5 } });
    await add("once");
    await add("many", { attempts: 1000, backoff: { type: "exponential", delay: 1000 } });
    await add("timeout", { timeout: 2500 });
    await add("endless-timeout", { timeout: 400 * 24 * HOUR });
    await add("goes-at-once", { removeOnComplete: true, removeOnFail: true });
    await add("kept-by-age", { removeOnComplete: { age: 60 }, removeOnFail: { age: 3600 } });
    await add("kept-by-number", { removeOnComplete: 50, removeOnFail: { age: 60, count: 9 } });
    await add("debounced", { debounce: { id: "same", ttl: HOUR } });
    await add("own-id", { jobId: "order-7/ü" });
  },

  // Names and data of all kinds.
  async odd() {
    const q = queue("Mails, outgoing");
    await q.add({ unnamed: true });
    await q.add("send e-mail!", { to: "ada" });
    await q.add("send e-mail?", { to: "bob" });
    await q.add("email_notification", { to: "carol" });
    await q.add("text", "just text");
    await q.add("list", [1, 2, 3]);
    await q.add("numbers", { whole: 9007199254740993, big: 1e300, small: 5e-324, half: 0.1, minus: -0 });
    await q.add("surrogate", { broken: "\ud800", whole: "😀" });
    await q.add("deep", JSON.parse("[".repeat(60) + "]".repeat(60)));
    await q.add("nothing", undefined);
    await q.add("large", { text: "x".repeat(200_000) });
    await q.add("too large", { text: "x".repeat(1_100_000) });
    await q.add("id", {}, { jobId: "a\nb" });
    await q.add("id", {}, { jobId: "i".repeat(10_000) });
    await q.add("id", {}, { jobId: "wait:id" });
  },

  async unnamed() {
    const q = queue("mails");
    await q.add({ a: 1 });
    await q.add("letter", { a: 2 });
    const both = queue("both");
    await both.add({ a: 1 });
    await both.add("both", { a: 2 });
  },

  async paused() {
    const q = queue("paused");
    await q.add("first", {});
    await q.pause();
    await q.add("second", {});
    await queue("going").add("one", {});
  },

  async repeats() {
    const q = queue("repeats");
    await q.add("nightly", { name: "nightly" }, { repeat: { cron: "0 3 * * *", tz: "Europe/Berlin" } });
    await q.add("often", { name: "often" }, { repeat: { every: 300_000 } });
  },

  // The run of a rule is due, and was moved to what waits.
  async late_repeats() {
    const q = queue("repeats");
    await q.add("look", { name: "look" }, { repeat: { every: 1_000 } });
    await until(async () => {
      await q.updateDelayTimer();
      return (await q.getWaitingCount()) === 1;
    });
  },

  // The first run has failed, and comes again; the second waits for its time.
  async tried_repeats() {
    const q = queue("repeats");
    await q.add("look", { name: "look" }, { repeat: { every: 2_000 }, attempts: 2, backoff: HOUR });
    const failed = new Promise((resolve) => q.once("failed", resolve));
    q.process("look", async () => {
      q.pause(true, true);
      throw new Error("not yet");
    });
    await failed;
    await until(async () => (await q.getDelayedCount()) === 2);
  },

  async promoted_repeats() {
    const q = queue("repeats");
    await q.add("nightly", { name: "nightly" }, { repeat: { cron: "0 3 * * *", tz: "UTC" } });
    const [job] = await q.getDelayed();
    await job.promote();
  },

  async ended_repeats() {
    const q = queue("repeats");
    await q.add("once", { name: "once" }, { repeat: { every: 1_000, limit: 1 } });
    const done = ended(q, 1);
    q.process("once", async () => {});
    await done;
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
