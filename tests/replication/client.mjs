// One turn of the JavaScript client: client.mjs PACKAGE FILE URL TOKEN STEPS; prints what its queries found, as JSON.
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, path, url, authToken, steps] = process.argv.slice(2);
const { connect } = await import(pathToFileURL(join(folder, "dist", "promise.js")));
const database = await connect({ path, url, authToken });
const found = [];
for (const [verb, sql] of JSON.parse(steps)) {
  if (verb === "exec") await database.exec(sql);
  else if (verb === "query") found.push(await (await database.prepare(sql)).all());
  else found.push(await database[verb]());
}
await database.close();
console.log(JSON.stringify(found));
