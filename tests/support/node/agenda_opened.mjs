// An Agenda of each line, and the BSON types of the driver that it brings: they do not mix.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

async function opened4(name, address, collection) {
  const { Agenda } = require(name);
  const agenda = new Agenda({ db: { address, collection }, processEvery: "0.1 seconds", name: "writer" });
  await new Promise((resolve, reject) => agenda.once("ready", resolve).once("error", reject));
  return { agenda, bson: createRequire(require.resolve(name))("mongodb") };
}

async function openedHokify(address, collection) {
  const { Agenda } = require("@hokify/agenda");
  const agenda = new Agenda({ db: { address, collection }, processEvery: 100, name: "writer" });
  await agenda.ready;
  return { agenda, bson: createRequire(require.resolve("@hokify/agenda"))("mongodb") };
}

async function opened6(address, collection) {
  const { Agenda } = await import("agenda");
  const { MongoBackend } = await import("@agendajs/mongo-backend");
  const backend = new MongoBackend({ address, collection });
  const agenda = new Agenda({ backend, processEvery: 100, name: "writer" });
  await agenda.ready;
  return { agenda, bson: await import("mongodb") };
}

/** Of version "4", "5", "6" or "hokify": the Agenda, connected and not started, and its driver's module. */
export async function opened(version, address, collection) {
  switch (version) {
    case "4":
    case "5":
      return opened4(`agenda${version}`, address, collection);
    case "hokify":
      return openedHokify(address, collection);
    case "6":
      return opened6(address, collection);
    default:
      throw new Error(`no Agenda ${version}`);
  }
}
