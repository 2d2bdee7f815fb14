// A queue of Bull or BullMQ as somebody leaves it who moves on: node bull_takeover.mjs URL bull|bullmq
import Bull from "bull";
import { Queue } from "bullmq";

const [url, system] = process.argv.slice(2);
const queue =
  system === "bull" ? new Bull("mail", url) : new Queue("mail", { connection: { url } });
const now = await queue.add("echo", { to: "ada@example.com", n: 1 }, { jobId: "now", attempts: 3 });
await queue.add("echo", { n: 2 }, { jobId: "soon", delay: 10_000 });
await queue.add("echo", { n: 3 }, { jobId: "tomorrow", delay: 86_400_000 });
await queue.add("fails", { n: 4 }, { jobId: "gives-up", attempts: 2, backoff: { type: "fixed", delay: 1 } });
process.stdout.write(JSON.stringify({ added: now.timestamp }));
await queue.close();
