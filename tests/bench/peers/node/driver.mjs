// The side of a peer written for Node: answers the questions of ../protocol.py. A peer's file gives run() what is its
// own: versions, settings, cannot (reasons by question), callers of add at a time, and
//   open(url)           connect
//   add(data, due)      one job; due: Unix time in ms, or null for at once. What cancel() needs
//   bulk(items)         [{data, due}, ...] by one call
//   cancel(handle)      remove a job that is due later; throws if it was not there
//   count()             jobs that wait, now or for their time
//   work(started)       run jobs, each of which calls started() first
import { createInterface } from "node:readline";

const now = () => performance.timeOrigin + performance.now();
const HOUR = 3_600_000;
const LISTED = 2_000; // times that one answer holds

async function flying(inFlight, items, call) {
  let next = 0;
  const fly = async () => {
    while (next < items.length) await call(items[next++]);
  };
  await Promise.all(Array.from({ length: inFlight }, fly));
}

// Times of starts since the last question.
function clocked() {
  let times = [];
  let wanted = Infinity;
  let reached = () => {};
  return {
    started() {
      times.push(now());
      if (times.length === wanted) reached();
    },
    async collect({ jobs, skip }) {
      if (times.length < jobs) {
        await new Promise((resolve) => {
          [wanted, reached] = [jobs, resolve];
        });
      }
      const taken = times.slice(0, jobs);
      [times, wanted] = [times.slice(jobs), Infinity];
      if (skip !== undefined) return { from: taken[skip], last: taken.at(-1) };
      return { times: taken.slice(0, LISTED) };
    },
  };
}

function cut(items, size) {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}

export async function run(peer) {
  const clock = clocked();
  let data;
  const jobs = (count, due = null) => Array.from({ length: count }, () => ({ data: { ...data }, due }));
  const add = (item) => peer.add(item.data, item.due);
  const bulk = async (count, due) => flying(4, cut(jobs(count, due), 1000), (items) => peer.bulk(items));

  // Each does its first step and gives back the second.
  const questions = {
    async single(asked) {
      await flying(asked.callers, jobs(asked.warm), add);
      const items = jobs(asked.jobs);
      return () => flying(asked.callers, items, add);
    },
    async bulk(asked) {
      for (const items of cut(jobs(asked.warm), asked.batch)) await peer.bulk(items);
      const batches = cut(jobs(asked.jobs), asked.batch);
      return () => flying(asked.in_flight, batches, (items) => peer.bulk(items));
    },
    async fill(asked) {
      return () => (peer.bulk ? bulk(asked.jobs, asked.due) : flying(100, jobs(asked.jobs, asked.due), add));
    },
    async one() {
      const [item] = jobs(1);
      return async () => {
        const asked = now();
        await add(item);
        return { asked };
      };
    },
    async cancel(asked) {
      const handles = [];
      await flying(100, jobs(asked.jobs, Date.now() + HOUR), async (item) => handles.push(await add(item)));
      return () => flying(asked.callers, handles, (handle) => peer.cancel(handle));
    },
    async count() {
      return async () => ({ count: await peer.count() });
    },
    async work() {
      return () => peer.work(clock.started);
    },
    async collect(asked) {
      return () => clock.collect(asked);
    },
  };

  const lines = createInterface({ input: process.stdin });
  const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  let go;
  lines.on("close", () => process.exit(0));
  for await (const line of lines) {
    const asked = JSON.parse(line);
    try {
      if (asked.open) {
        data = asked.open.data;
        await peer.open(asked.open.url);
        const { versions, settings, cannot } = peer;
        say({ ready: { versions: { ...versions, node: process.version.slice(1) }, settings, cannot } });
      } else if (asked.do) {
        if (peer.cannot[asked.do]) {
          say({ cannot: peer.cannot[asked.do] });
          continue;
        }
        go = await questions[asked.do](asked);
        say({ prepared: {} });
      } else {
        say({ done: (await go()) ?? {} });
      }
    } catch (error) {
      say({ error: String(error?.stack ?? error) });
    }
  }
}
