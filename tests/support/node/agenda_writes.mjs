// A user's Agenda puts jobs into a collection: node agenda_writes.mjs 5|6 URL COLLECTION
import { createRequire } from "node:module";

const [version, address, collection] = process.argv.slice(2);

async function opened() {
  if (version === "5") {
    const { Agenda } = createRequire(import.meta.url)("agenda5");
    const agenda = new Agenda({ db: { address, collection } });
    await new Promise((resolve, reject) => agenda.on("ready", resolve).on("error", reject));
    return agenda;
  }
  const { Agenda } = await import("agenda");
  const { MongoBackend } = await import("@agendajs/mongo-backend");
  const agenda = new Agenda({ backend: new MongoBackend({ address, collection }) });
  await agenda.ready;
  return agenda;
}

const agenda = await opened();
agenda.define("send email", async () => {});
await agenda.schedule("in 20 minutes", "send email", { to: "ada@example.com", when: new Date(0) });
await agenda.now("send email", { to: "bob@example.com" });
await agenda.every("5 minutes", "clean up", { older: 3 });
await agenda.create("report", { month: 11 }).unique({ "data.month": 11 }).schedule("tomorrow at noon").save();
process.stdout.write("written\n");
process.exit(0);
