import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Client, type DenoisedError, type GenerateOptions } from "../src/index.js";
import { GenerateRequestSchema } from "../src/proto.js";
import { eventually, failure } from "./support/calls.js";
import { CuttingProxy } from "./support/cutting-proxy.js";
import { Server, starterModels } from "./support/server.js";

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start(starterModels, "--max-detached", "1");
  client = new Client({ address: server.address });
});

after(async () => {
  await client.close();
  await server.stop();
});

const animal = { model: "emoji-32", classLabel: 2, steps: 4, seed: 7 } as const;
const endless = { model: "emoji-32", classLabel: 2, count: 64, steps: 1000 } as const;

test("a request that is wrong in several fields is refused with all of them", async () => {
  const call = client.generateImages({ ...animal, classLabel: 99, steps: 0, count: -1, eta: 1 });
  const error = await failure(call, "INVALID_ARGUMENT");
  assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
    "class_label",
    "count",
    "sampler.eta",
    "sampler.steps",
  ]);
  for (const { field, description } of error.violations) {
    assert.ok(description.length > 0);
    assert.ok(error.message.includes(`${field}: ${description}`));
  }
  assert.equal(error.connectionLost, false);
  assert.match(error.metadata.request_id ?? "", /./);
});

test("names that do not exist are refused with those that do, before anything is sent", async () => {
  const options: GenerateOptions = {
    ...animal,
    // @ts-expect-error -- no such sampler
    sampler: "dpmpp_9m",
    // @ts-expect-error -- no such spacing
    sigmaSpacing: "kerras",
    ...{ guidanzeScale: 2 },
  };
  const unreachable = new Client({ address: "127.0.0.1:1", maxAttempts: 1 });
  const error = await failure(unreachable.generateImages(options), "INVALID_ARGUMENT");
  const described = new Map(error.violations.map(({ field, description }) => [field, description]));
  assert.deepEqual([...described.keys()].sort(), [
    "guidanzeScale",
    "sampler.sampler",
    "sampler.sigma_spacing",
  ]);
  assert.match(described.get("sampler.sampler") ?? "", /dpmpp, .*dpmpp_2m.*is "dpmpp_9m"/);
  assert.match(described.get("sampler.sigma_spacing") ?? "", /karras.*is "kerras"/);
});

test("a class is found by its name, and an unknown one is refused with those that there are", async () => {
  const [named] = await client.generateImages({ ...animal, classLabel: "ANIMALS" });
  const [labelled] = await client.generateImages(animal);
  assert.deepEqual(named?.image, labelled?.image);
  const call = client.generateImages({ ...animal, classLabel: "dinosaurs" });
  const error = await failure(call, "INVALID_ARGUMENT");
  assert.match(error.message, /dinosaurs.*smileys \(0\), people \(1\), animals \(2\)/);
});

test("a request that cannot be sent says why", async () => {
  const request = create(GenerateRequestSchema, { model: "models/emoji-32", count: 1.5 });
  const error = await failure(client.generateImages(request), "INVALID_ARGUMENT");
  assert.match(error.message, /count.*1\.5/);
});

test("values of the wrong kind, and a model that is missing, are named", async () => {
  const options = { ...animal, timesteps: 5, size_conditioning: {}, start: "noise" };
  const wrong = client.generateImages(options as unknown as GenerateOptions);
  const error = await failure(wrong, "INVALID_ARGUMENT");
  assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
    "sampler.timesteps",
    "size_conditioning",
    "start",
  ]);
  const nothing = client.generateImages({} as GenerateOptions);
  const { violations } = await failure(nothing, "INVALID_ARGUMENT");
  assert.deepEqual(
    violations.map(({ field }) => field),
    ["model"],
  );
});

test("a model that does not exist is named", async () => {
  const error = await failure(client.models.get("unicorns"), "NOT_FOUND");
  assert.equal(error.resource?.name, "models/unicorns");
  assert.match(error.message, /unicorns/);
});

test("a server that cannot be reached is asked again, then reported", async () => {
  const delays: number[] = [];
  const lost = new Client({
    address: "127.0.0.1:1",
    maxAttempts: 3,
    onRetry: (_, delayMs) => delays.push(delayMs),
  });
  const error = await failure(lost.generateImages(animal), "UNAVAILABLE");
  assert.equal(error.connectionLost, true);
  assert.match(error.message, /127\.0\.0\.1:1 .*ECONNREFUSED/);
  assert.equal(delays.length, 2);
  assert.ok((delays[1] ?? 0) > (delays[0] ?? 0));
});

test("a wait for another attempt ends when the signal is aborted", async () => {
  const abort = new AbortController();
  const lost = new Client({
    address: "127.0.0.1:1",
    maxAttempts: 1000,
    onRetry: () => {
      abort.abort();
    },
  });
  await failure(lost.models.list({ signal: abort.signal, timeoutMs: 60_000 }), "CANCELLED");
});

test("a full server says when to come back, and is asked again then", async () => {
  const impatient = new Client({ address: server.address, maxAttempts: 1 });
  const retried: { error: DenoisedError; delayMs: number }[] = [];
  const patient = new Client({
    address: server.address,
    maxAttempts: 1000,
    onRetry: (error, delayMs) => {
      retried.push({ error, delayMs });
      if (retried.length === 1) void client.generations.cancel("blocker");
    },
  });
  const blocked = (async () => {
    for await (const event of client.generate({ ...endless, requestId: "blocker" })) {
      if (event.type !== "started") continue;
      const error = await failure(impatient.generateImages(animal), "UNAVAILABLE");
      assert.ok((error.retryAfterMs ?? 0) > 0);
      assert.equal(error.connectionLost, false);
      assert.equal((await patient.generateImages(animal)).length, 1);
    }
  })();
  await failure(blocked, "CANCELLED");
  assert.ok(retried.length >= 1);
  for (const { error, delayMs } of retried) assert.equal(delayMs, error.retryAfterMs);
});

test("a server that does not train says so", async () => {
  const error = await failure(client.datasets.list(), "UNIMPLEMENTED");
  assert.match(error.message, /it may be older than this client, or lack --state/);
});

test("a call whose time is up while it waits fails with what it waited for", async () => {
  const lost = new Client({ address: "127.0.0.1:1", maxAttempts: 1000 });
  await failure(lost.models.list({ timeoutMs: 4500 }), "UNAVAILABLE");
});

test("a call that cannot be repeated safely is not repeated when its connection breaks", async () => {
  const proxy = await CuttingProxy.to(server.address);
  const through = new Client({ address: proxy.address });
  assert.equal(await through.checkHealth(), "serving"); // the connection is open
  const requestId = "cancelled-once";
  for await (const event of client.generate({ ...endless, requestId, onDisconnect: "detach" })) {
    if (event.type === "accepted") break;
  }
  proxy.answers = false;
  const call = failure(through.generations.cancel(requestId), "UNAVAILABLE");
  await eventually(async () => {
    const { state } = await client.generations.get(requestId);
    return state === "cancelling" || state === "cancelled" ? state : undefined;
  });
  proxy.cut();
  assert.equal((await call).connectionLost, true);
  proxy.answers = true;
  assert.equal((await through.models.list()).length, 1);
  await through.close();
  proxy.close();
});
