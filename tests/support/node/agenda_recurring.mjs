// Rules of Agenda: node agenda_recurring.mjs 4|5|6|hokify URL COLLECTION
// Writes jobs that repeat, and says when Agenda itself would run each, by a clock that is set to each run's time:
// {name: [ms, ...]}; and of phrases how many milliseconds its package human-interval makes of them.
import { createRequire } from "node:module";
import { opened } from "./agenda_opened.mjs";
import { setClock } from "./recurring_clock.mjs";

const [version, address, collection] = process.argv.slice(2);
const { agenda } = await opened(version, address, collection);
const RUNS = 6;
const DAY = 86_400_000;
const now = Math.floor(Date.now() / 1000) * 1000;

const every = {
  nightly: ["0 3 * * *", { timezone: "Europe/Berlin" }],
  "every other day, or Mondays": ["30 9 */2 * 1", { timezone: "America/New_York" }],
  "with seconds": ["30 */10 * * * *", {}],
  "ten minutes": ["10 minutes", {}],
  "in words": ["two hours and thirty seconds", {}],
  "skips the first": ["3 days", { skipImmediate: true }],
  milliseconds: [90_000, {}],
};
const at = { afternoon: "3:30pm", morning: "at 07:05", noon: "noon" };
// Agenda 4 knows days only.
const until = new Date(Math.ceil(now / DAY + 1) * DAY);
const phrases =
  "5 minutes|five minutes|minute|one minute and 30 seconds|1.5 hours|3 days and 2 hours|twenty-five seconds|two weeks|" +
  "1 month|year|one hundred and twenty seconds|1 minute, 30 seconds|monthly|1e3 seconds|.5 hours|3-4 minutes|every day|" +
  "two hundred thirty one seconds|ninety nine minutes|15 minutes 15 seconds|every 5 minutes|an hour|-1 day|0 seconds";

const times = {};

/** The next runs by Agenda's own reckoning, as of runs that begin so many milliseconds after their time. */
function runs(job, late) {
  const found = [job.attrs.nextRunAt.getTime()];
  while (found.length < RUNS) {
    setClock(found.at(-1) + late);
    job.attrs.lastRunAt = new Date();
    job.computeNextRunAt();
    if (!job.attrs.nextRunAt) break;
    found.push(job.attrs.nextRunAt.getTime());
  }
  setClock(now);
  return found;
}

async function written(name, job, late = 0) {
  await job.save();
  times[name] = runs(job, late);
}

setClock(now);
for (const [name, [interval, options]] of Object.entries(every)) {
  const job = agenda.create(name, { name });
  job.repeatEvery(interval, options);
  await written(name, job);
}
for (const [name, time] of Object.entries(at)) {
  const job = agenda.create(name, { name });
  job.repeatAt(time);
  job.computeNextRunAt();
  await written(name, job, 61_000); // within the minute it takes the time for one that is yet to come
}
if (version !== "hokify") {
  const job = agenda.create("until then", { name: "until then" });
  if (version === "6") job.endDate(until);
  job.repeatEvery("0 */8 * * *", { endDate: until, timezone: "UTC" });
  await written("until then", job);
}
if (version === "6") {
  const daysOff = {
    "office days": [[0, 6], "0 9 * * *"],
    "but on Sundays": [[0], "6 hours"],
    "often, but on Mondays": [[1], "*/5 * * * *"],
  };
  for (const [name, [days, interval]] of Object.entries(daysOff)) {
    const job = agenda.create(name, { name });
    // So that the first run is one before such a day.
    job.attrs.lastRunAt = new Date(Math.ceil(now / (7 * DAY)) * 7 * DAY + (days[0] + 2) * DAY + 22 * 3_600_000);
    job.skipDays(days).repeatEvery(interval, { timezone: "Europe/Berlin" });
    await written(name, job);
  }
}
const single = await agenda.every("1 hour", "clean up", { name: "clean up" });
times["clean up"] = runs(single, 0);
const disabled = agenda.create("rests", { name: "rests" });
disabled.repeatEvery("1 hour");
await disabled.disable().save();

const interval = createRequire(import.meta.url)("human-interval");
const read = Object.fromEntries(phrases.split("|").map((phrase) => [phrase, interval(phrase)]));
setClock(null);
process.stdout.write(JSON.stringify({ now, times, read }), () => process.exit(0));
