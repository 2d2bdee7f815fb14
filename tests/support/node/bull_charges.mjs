// bull_charges.mjs URL SYSTEM PREFIX: three jobs that are removed as they end, numbered by their queue: 1, 2, 3.
import Bull from "bull";
import { Queue } from "bullmq";

const [url, system, prefix] = process.argv.slice(2);
const defaultJobOptions = { removeOnComplete: true, removeOnFail: true };
const queue =
  system === "bull"
    ? new Bull("pay", url, { prefix, defaultJobOptions })
    : new Queue("pay", { connection: { url }, prefix, defaultJobOptions });
for (const n of [1, 2, 3]) await queue.add("echo", { n, of: prefix });
await queue.close();
