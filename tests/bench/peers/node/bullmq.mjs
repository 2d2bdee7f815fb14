// BullMQ for Node.
//
// Settings: jobs are removed when they have ended; 100 at a time a worker, the best of 1, 10, 50, 100 and 200 when they
// were tried. All else as BullMQ has it.
import { createRequire } from "node:module";
import { Queue, Worker } from "bullmq";
import { run } from "./driver.mjs";

const version = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;
const CONCURRENCY = 100;
const OPTIONS = { removeOnComplete: true, removeOnFail: true };
const later = (due) => (due === null ? OPTIONS : { ...OPTIONS, delay: Math.max(0, due - Date.now()) });
let connection;
let queue;

await run({
  versions: { bullmq: version("bullmq"), ioredis: version("ioredis") },
  settings: `removeOnComplete and removeOnFail, concurrency ${CONCURRENCY}`,
  cannot: {},
  async open(url) {
    const { hostname, port } = new URL(url);
    connection = { host: hostname, port: Number(port) };
    queue = new Queue("bench", { connection });
    await queue.waitUntilReady();
  },
  add: (data, due) => queue.add("noop", data, later(due)),
  bulk: (items) => queue.addBulk(items.map(({ data, due }) => ({ name: "noop", data, opts: later(due) }))),
  cancel: (job) => job.remove(),
  async count() {
    const { waiting, delayed } = await queue.getJobCounts("waiting", "delayed");
    return waiting + delayed;
  },
  async work(started) {
    const worker = new Worker("bench", async () => started(), { connection, concurrency: CONCURRENCY });
    await worker.waitUntilReady();
  },
});
