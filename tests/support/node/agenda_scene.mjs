// A user's Agenda with jobs in every state, by running them: node agenda_scene.mjs 4|5|6|hokify URL COLLECTION
// Says which job is which: a line of JSON, {role: id}. Ends without a farewell, so that what runs stays locked.
import { opened } from "./agenda_opened.mjs";

const [version, address, collection] = process.argv.slice(2);
const { agenda, bson } = await opened(version, address, collection);
const ids = {};
const far = new Date("2099-12-24T18:00:00.123Z");
const six = version === "6";
const old = version === "4" || version === "5";

async function saved(role, job) {
  await job.save();
  ids[role] = job.attrs._id.toString();
}

/** When each of the events has come. */
function heard(...events) {
  return Promise.all(events.map((event) => new Promise((resolve) => agenda.once(event, resolve))));
}

/** Agenda 4 and 5 take options before the handler, the others after it. */
function define(name, handler, options = {}) {
  if (old) agenda.define(name, options, handler);
  else agenda.define(name, handler, options);
}

// --- jobs that run, or try to ---
const inAnHour = () => 3_600_000;
define("welcome", async () => ({ sent: 1, at: new Date(0) }), { shouldSaveResult: true });
define("break", async () => Promise.reject(new Error("the card was refused: ☂")));
define("come again", async (job) => Promise.reject(new Error(`not yet ${job.attrs.data.n}`)), { backoff: inAnHour });
let hung;
const hangs = new Promise((resolve) => (hung = resolve));
define("hang", async (job) => {
  if (!old) await job.touch(40);
  hung();
  await new Promise(() => {});
});
define("stop me", async () => new Promise(() => {}));

await saved("completed", agenda.create("welcome", { to: "ada@example.com" }).schedule(new Date()));
await saved("failed", agenda.create("break", { n: 1 }).priority("high").schedule(new Date()));
await saved("retrying", agenda.create("come again", { n: 1 }).schedule(new Date()));
if (old) await saved("interrupted", agenda.create("stop me", {}).schedule(new Date()));
// Agenda 6 comes again by its backoff; with the others a listener sees to it, as their manuals show.
if (!six) {
  agenda.on("fail:come again", async (error, job) => {
    job.attrs.nextRunAt = new Date(Date.now() + inAnHour());
    await job.save();
    agenda.emit("put off");
  });
}
const ended = heard("complete:welcome", "complete:break", "complete:come again", ...(six ? [] : ["put off"]));
const begun = old ? heard("start:stop me") : undefined;
await agenda.start();
await Promise.all([ended, begun]);
if (old) {
  await agenda.stop(); // takes the lock off "stop me", which nobody runs again
  await agenda.start();
}
await saved("locked", agenda.create("hang", { n: 7 }).schedule(new Date()));
await hangs;

// --- jobs that no worker here takes ---
await saved("scheduled", agenda.create("send email", { to: "ada@example.com", n: [1, 2.5, null] }).schedule(far));
await saved("queued", agenda.create("send-email", { to: "bob@example.com" }).priority("lowest").schedule(new Date()));
await saved("nothing", agenda.create("no-data").schedule(far));
await saved("text", agenda.create("text-data", "only text").schedule(far));
await saved("built_in", agenda.create("data cleanup", { older: 3 }).schedule(far));
await saved(
  "rich",
  agenda
    .create("rich", {
      user: new bson.ObjectId("65f000000000000000000001"),
      when: new Date("2031-05-06T07:08:09.010Z"),
      price: bson.Decimal128.fromString("12.50"),
      large: bson.Long.fromString("9007199254740993"),
      small: bson.Long.fromNumber(5),
      bytes: new bson.Binary(Buffer.from([0, 255])),
      nan: NaN,
      pattern: /a+/i,
      nested: [{ at: new Date(0) }],
    })
    .schedule(far),
);
await saved("unique", agenda.create("report", { month: 11 }).unique({ "data.month": 11 }).schedule(far));
await saved("disabled", agenda.create("paused-one", {}).disable().schedule(far));
await saved("named-priority", agenda.create("urgent", {}).priority("highest").schedule(far));
await saved("every", agenda.create("tick", {}).repeatEvery("*/5 * * * *", { timezone: "Europe/Berlin" }));
await saved("repeat-at", agenda.create("noon", {}).repeatAt("3:30pm").schedule(far));
const single = await agenda.every("10 minutes", "clean up", { older: 3 });
ids.single = single.attrs._id.toString();
if (six) {
  await saved(
    "debounced",
    agenda.create("index", { id: 1 }).unique({ "data.id": 1 }).debounce(86_400_000).schedule(far),
  );
  await saved("ended", agenda.create("too late", {}).endDate(new Date("2020-01-01")).schedule(far));
}
if (!old) await saved("forked", agenda.create("forked", {}).forkMode(true).schedule(far));

process.stdout.write(`${JSON.stringify(ids)}\n`, () => process.exit(0));
