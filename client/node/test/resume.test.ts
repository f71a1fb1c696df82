import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Client, type GenerateEvent } from "../src/index.js";
import { collect, eventually, failure, only } from "./support/calls.js";
import { CuttingProxy } from "./support/cutting-proxy.js";
import { Server, starterModels } from "./support/server.js";

let server: Server;
let proxy: CuttingProxy;
let direct: Client;
let client: Client; // through the proxy

before(async () => {
  server = await Server.start(starterModels);
  proxy = await CuttingProxy.to(server.address);
  direct = new Client({ address: server.address });
  client = new Client({ address: proxy.address });
});

after(async () => {
  await client.close();
  await direct.close();
  proxy.close();
  await server.stop();
});

const request = {
  model: "emoji-32",
  classLabel: 2,
  seed: 7,
  count: 2,
  sampler: "ddim",
  steps: 12,
  frames: { everyNSteps: 1, encoding: "raw_float32" },
} as const;

// What must neither be lost nor doubled. Queue positions and progress replace each other.
function lasting(events: GenerateEvent[]): string[] {
  const frames = only(events, "frame").map(
    ({ imageIndex, step, image }) => `frame ${imageIndex} ${step} ${hex(image.data)}`,
  );
  const images = only(events, "image").map(
    ({ imageIndex, image }) => `image ${imageIndex} ${hex(image.data)}`,
  );
  return [...frames, ...images].sort();
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}

function assertWhole(events: GenerateEvent[]): void {
  const numbers = events.map(({ sequence }) => sequence);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  );
  assert.equal(events[0]?.type, "accepted");
  assert.equal(events.at(-1)?.type, "finished");
  assert.equal(only(events, "accepted").length, 1);
}

test("a generation survives many cuts, and no event is lost or doubled", async () => {
  const uncut = await collect(direct.generate(request));
  const before = proxy.connections;
  const events: GenerateEvent[] = [];
  let cuts = 0;
  for await (const event of client.generate(request)) {
    events.push(event);
    const isFifth = event.type === "frame" && only(events, "frame").length % 5 === 0;
    if (!isFifth && event.type !== "accepted" && event.type !== "image") continue;
    proxy.cut();
    cuts += 1;
  }
  assertWhole(events);
  assert.equal(lasting(uncut).length, 26);
  assert.deepEqual(lasting(events), lasting(uncut));
  assert.ok(cuts >= 5);
  assert.ok(proxy.connections - before > 1);
});

test("a generation whose beginning was not heard of is joined, not started twice", async () => {
  const requestId = "unheard";
  assert.equal((await client.models.list()).length, 1); // the connection is open
  proxy.answers = false;
  const call = collect(client.generate({ ...request, requestId }));
  await eventually(async () => {
    const names = (await direct.generations.list()).map(({ name }) => name);
    return names.includes("generations/unheard") || undefined;
  });
  const { createTime } = await direct.generations.get(requestId);
  proxy.answers = true;
  proxy.cut();
  assertWhole(await call);
  const generation = await direct.generations.get(requestId);
  assert.deepEqual(generation.createTime, createTime);
  assert.equal(generation.state, "succeeded");
});

test("a cut after the last event does not matter", async () => {
  const doomed = await Server.start(starterModels);
  const lonely = new Client({ address: doomed.address });
  let last = "";
  for await (const event of lonely.generate({ ...request, steps: 2 })) {
    last = event.type;
    if (event.type === "finished") await doomed.stop();
  }
  assert.equal(last, "finished");
  await lonely.close();
});

test("a watch survives a cut", async () => {
  const requestId = "watched";
  const events = await collect(direct.generate({ ...request, requestId }));
  const watched: GenerateEvent[] = [];
  for await (const event of client.generations.watch(requestId)) {
    watched.push(event);
    if (event.type === "image") proxy.cut();
  }
  assertWhole(watched);
  assert.deepEqual(lasting(watched), lasting(events));
});

test("a generation that ends with its connection does not come back", async () => {
  const call = (async () => {
    for await (const event of client.generate({
      ...request,
      onDisconnect: "cancel",
      steps: 1000,
    })) {
      if (event.type === "frame") proxy.cut();
    }
  })();
  const error = await failure(call, "UNAVAILABLE");
  assert.equal(error.connectionLost, true);
});

test("a server that never comes back is given up, and the error says so", async () => {
  const doomed = await Server.start(starterModels);
  const lonely = new Client({ address: doomed.address, reconnectTimeoutMs: 500 });
  const call = (async () => {
    for await (const event of lonely.generate({ ...request, steps: 1000 })) {
      if (event.type === "frame") await doomed.stop();
    }
  })();
  const error = await failure(call, "UNAVAILABLE");
  assert.equal(error.connectionLost, true);
  assert.match(error.message, /no connection to 127\.0\.0\.1/);
});
