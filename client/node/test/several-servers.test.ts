// Two servers behind one name.
import assert from "node:assert/strict";
import dns, { type LookupAddress, type LookupOptions } from "node:dns";
import dnsPromises from "node:dns/promises";
import { syncBuiltinESMExports } from "node:module";
import { after, before, beforeEach, mock, test } from "node:test";

import { Client, type GenerateEvent } from "../src/index.js";
import { collect, eventually, failure, only } from "./support/calls.js";
import { CuttingProxy } from "./support/cutting-proxy.js";
import { Server, starterModels } from "./support/server.js";

const hosts = ["127.0.0.1", "127.0.0.2"];
const servers: Server[] = [];
const proxies: CuttingProxy[] = [];
const direct: Client[] = [];
let address: string; // of the name
let first = 0; // the server that the name leads to; the other is listed behind it

type Callback = (error: Error | null, found: LookupAddress[] | string, family?: number) => void;

function found(): LookupAddress[] {
  return [first, 1 - first].map((index) => ({ address: hosts[index] ?? "", family: 4 }));
}

before(async () => {
  for (const host of hosts) {
    const server = await Server.start(starterModels);
    const port = proxies[0]?.address.split(":")[1];
    servers.push(server);
    proxies.push(await CuttingProxy.to(server.address, host, Number(port ?? 0)));
    direct.push(new Client({ address: server.address }));
  }
  address = `denoised.test:${String(proxies[0]?.address.split(":")[1])}`;
  mock.method(dns, "lookup", (name: string, options: LookupOptions, callback: Callback) => {
    assert.equal(name, "denoised.test");
    if (options.all) callback(null, found());
    else callback(null, hosts[first] ?? "", 4);
  });
  mock.method(dnsPromises, "lookup", () => Promise.resolve(found()));
  syncBuiltinESMExports();
});

beforeEach(() => {
  first = 0;
});

after(async () => {
  mock.restoreAll();
  syncBuiltinESMExports();
  for (const proxy of proxies) proxy.close();
  for (const client of direct) await client.close();
  for (const server of servers) await server.stop();
});

const animal = { model: "emoji-32", classLabel: 2, seed: 7 } as const;
// Runs until it is cancelled, as far as a test is concerned.
const endless = { ...animal, count: 64, steps: 1000 } as const;

function cut(): void {
  for (const proxy of proxies) proxy.cut();
}

test("a stream that breaks continues on its server, wherever the name leads", async () => {
  const client = new Client({ address });
  const events: GenerateEvent[] = [];
  const frames = { everyNSteps: 1, encoding: "raw_float32" } as const;
  for await (const event of client.generate({ ...animal, steps: 12, frames })) {
    events.push(event);
    if (event.type !== "frame" || event.step % 4 !== 0) continue;
    first = 1 - first;
    cut();
  }
  assert.deepEqual(
    only(events, "frame").map(({ step }) => step),
    Array.from({ length: 12 }, (_, index) => index + 1),
  );
  assert.equal(events.at(-1)?.type, "finished");
  await client.close();
});

test("a generation is left on its server after the connection has changed", async () => {
  const client = new Client({ address });
  let name = "";
  for await (const event of client.generate(endless)) {
    if (event.type === "accepted") name = event.generation;
    if (event.type !== "progress") continue;
    first = 1;
    cut();
    await client.models.list(); // on the other server
    break;
  }
  const state = await eventually(async () => {
    const generation = await direct[0]?.generations.get(name);
    return generation?.state === "cancelling" ? undefined : generation?.state;
  });
  assert.equal(state, "cancelled");
  await client.close();
});

test("a generation is found on whichever server it runs", async () => {
  const requestId = "zoo";
  for await (const event of new Client({ address }).generate({
    ...endless,
    requestId,
    onDisconnect: "detach",
  })) {
    if (event.type === "accepted") break;
  }
  first = 1;
  const client = new Client({ address });
  assert.equal(await client.checkHealth(), "serving");
  assert.equal((await client.generations.get(requestId)).name, "generations/zoo");
  const watch = client.generations.watch(requestId);
  assert.equal((await watch.next()).value?.type, "accepted");
  await client.generations.cancel(requestId);
  await failure(collect(watch), "CANCELLED");
  await client.close();
});

test("a generation that no server has does not exist", async () => {
  const client = new Client({ address });
  await failure(client.generations.get("never-was"), "NOT_FOUND");
  await failure(collect(client.generations.watch("never-was")), "NOT_FOUND");
  await client.close();
});

test("a server that cannot be asked may have the generation", async () => {
  const client = new Client({ address, maxAttempts: 1 });
  assert.equal(await client.checkHealth(), "serving");
  proxies[1]?.close();
  const error = await failure(client.generations.get("never-was"), "UNAVAILABLE");
  assert.match(error.message, /could not be asked/);
  await client.close();
});
