// Bull 4, what most who come to Tocsin have.
//
// Settings: jobs are removed when they have ended, as Bull's own documents advise for a busy queue; 50 at a time a
// worker, the best of 1, 10, 50, 100 and 200 when they were tried. All else as Bull has it.
import { createRequire } from "node:module";
import Queue from "bull";
import { run } from "./driver.mjs";

const { version } = createRequire(import.meta.url)("bull/package.json");
const CONCURRENCY = 50;
const OPTIONS = { removeOnComplete: true, removeOnFail: true };
const later = (due) => (due === null ? OPTIONS : { ...OPTIONS, delay: Math.max(0, due - Date.now()) });
let queue;

await run({
  versions: { bull: version },
  settings: `removeOnComplete and removeOnFail, concurrency ${CONCURRENCY}`,
  cannot: {},
  async open(url) {
    queue = new Queue("bench", url);
    await queue.isReady();
  },
  add: (data, due) => queue.add("noop", data, later(due)),
  bulk: (items) => queue.addBulk(items.map(({ data, due }) => ({ name: "noop", data, opts: later(due) }))),
  cancel: (job) => job.remove(),
  async count() {
    const { waiting, delayed } = await queue.getJobCounts();
    return waiting + delayed;
  },
  async work(started) {
    queue.process("noop", CONCURRENCY, async () => started());
  },
});
