// A job's data, as Tocsin gives it, on stdin; says what Extended JSON makes of each field: {field: "Type value"}
import { EJSON } from "bson";
import { text } from "node:stream/consumers";

const shown = {
  ObjectId: (value) => value.toHexString(),
  Date: (value) => value.toISOString(),
  Binary: (value) => Buffer.from(value.buffer).toString("hex"),
  BSONRegExp: (value) => `/${value.pattern}/${value.options}`,
  Array: (value) => value[0].at.toISOString(),
};

const data = EJSON.deserialize(JSON.parse(await text(process.stdin)), { useBigInt64: true });
const said = {};
for (const [field, value] of Object.entries(data)) {
  const type = value.constructor.name;
  said[field] = `${type} ${(shown[type] ?? String)(value)}`;
}
process.stdout.write(JSON.stringify(said));
