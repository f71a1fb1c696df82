import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { Client, type DiffuseEvent, type ModelEvent, type SamplerName } from "../src/index.js";
import { namesWithOrder } from "../src/sampler-names.js";
import { collect, failure, only } from "./support/calls.js";
import {
  modelsFolder,
  repository,
  Server,
  starterModels,
  temporaryFolder,
} from "./support/server.js";

let models: string;
let server: Server;
let client: Client;

before(async () => {
  models = modelsFolder("deploy/models/emoji-32", "tests/data/pipelines/sd15-like");
  server = await Server.start(models, "--manage-models", "--poll-models", "0.1");
  client = new Client({ address: server.address });
});

after(async () => {
  await client.close();
  await server.stop();
});

test("models are listed and described", async () => {
  const names = (await client.models.list()).map(({ name }) => name);
  assert.deepEqual(names, ["models/emoji-32", "models/sd15-like"]);
  const emoji = await client.models.get("emoji-32");
  assert.deepEqual([emoji.height, emoji.width, emoji.channels], [32, 32, 3]);
  assert.equal(emoji.classes[2]?.displayName, "animals");
  assert.equal(emoji.predictionType, "v_prediction");
  assert.equal(emoji.defaultSampler?.sampler, "ddpm");
  assert.equal(emoji.supportsGuidance, true);
  assert.ok(emoji.parameterCount > 1e6);
});

test("models are loaded and unloaded, and a watch tells it", async () => {
  const events: ModelEvent[] = [];
  const states: (string | undefined)[] = [];
  for await (const event of client.models.watch()) {
    events.push(event);
    if (event.type === "complete") {
      assert.equal((await client.models.load("emoji-32")).state, "loaded");
      await client.models.unload("emoji-32");
    }
    const told = events.some(({ type }) => type === "complete");
    if (told && event.type === "model" && event.name === "models/emoji-32") {
      states.push(event.state);
      if (event.state === "unloaded") break;
    }
  }
  assert.equal(states.at(-1), "unloaded");
  const atFirst = events.slice(
    0,
    events.findIndex(({ type }) => type === "complete"),
  );
  assert.deepEqual(
    atFirst.map(({ type }) => type),
    ["model", "model"],
  );
});

test("a model is deleted, and a watch tells it", async () => {
  const copy = path.join(models, "copy-32");
  cpSync(path.join(starterModels, "emoji-32"), copy, { recursive: true });
  let isDeleted = false;
  for await (const event of client.models.watch()) {
    const isThere = event.type === "model" && event.name === "models/copy-32";
    if (isThere && event.state !== "failed" && !isDeleted) {
      await client.models.delete("copy-32");
      isDeleted = true;
    }
    if (event.type === "removed" && event.removed === "models/copy-32") break;
  }
  await failure(client.models.get("copy-32"), "NOT_FOUND");
});

test("a server that does not let models be managed says so", async () => {
  const strict = await Server.start(starterModels);
  const other = new Client({ address: strict.address });
  await failure(other.models.unload("emoji-32"), "PERMISSION_DENIED");
  await other.close();
  await strict.stop();
});

const boat = { model: "sd15-like", prompt: "a boat", steps: 2, seed: 3 } as const;

test("adapters are listed, and change the image by their scale", async () => {
  const adapters = await client.models.listAdapters({ model: "sd15-like" });
  const names = adapters.map(({ name }) => name);
  assert.ok(names.includes("models/sd15-like/adapters/kohya-conv"), names.join());
  assert.ok((adapters[0]?.rank ?? 0) > 0);

  const adapted = { ...boat, adapters: { "kohya-conv": 0.8 } };
  const [accepted] = only(await collect(client.generate(adapted)), "accepted");
  assert.deepEqual(
    accepted?.adapters.map(({ name, scale }) => [name, scale]),
    [["models/sd15-like/adapters/kohya-conv", 0.8]],
  );
  const [plain] = await client.generateImages(boat);
  const [changed] = await client.generateImages(adapted);
  const [unchanged] = await client.generateImages({
    ...boat,
    adapters: { "sd15-like/kohya-conv": 0 },
  });
  assert.notDeepEqual(changed?.image.data, plain?.image.data);
  assert.deepEqual(unchanged?.image.data, plain?.image.data);
  const missing = client.generateImages({ ...boat, adapters: { "no-such-adapter": 1 } });
  const error = await failure(missing, "INVALID_ARGUMENT");
  assert.deepEqual(
    error.violations.map(({ field }) => field),
    ["adapters[0].name"],
  );
});

test("prompts, negative prompts and sizes reach the server", async () => {
  const events = await collect(
    client.generate({
      ...boat,
      negativePrompt: "people, (text:1.2)",
      promptSyntax: "literal",
      guidanceScale: 3,
      width: 48,
      height: 32,
    }),
  );
  const [accepted] = only(events, "accepted");
  const [image] = only(events, "image");
  assert.ok((accepted?.prompt?.tokens ?? 0) >= 2);
  assert.ok((accepted?.negativePrompt?.tokens ?? 0) > 4);
  assert.equal(accepted?.promptSyntax, "literal");
  assert.deepEqual([image?.image.width, image?.image.height], [48, 32]);
  const missing = await failure(client.generateImages({ model: "sd15-like" }), "INVALID_ARGUMENT");
  assert.deepEqual(
    missing.violations.map(({ field }) => field),
    ["prompt"],
  );
});

test("a plan has every number that a sampler will use", async () => {
  const plan = await client.planSampler({ model: "emoji-32", sampler: "dpmpp_2m", steps: 5 });
  assert.equal(plan.evaluations.length, 5);
  assert.equal(plan.sampler?.solverOrder, 2);
  const [first] = plan.evaluations;
  assert.ok(first);
  assert.equal(first.update.length, plan.slots * (plan.slots + 2));
  assert.equal(first.noiseScale, 0);
  assert.equal(first.learnedRange, undefined);
  assert.ok(plan.evaluations.every(({ endsStep }) => endsStep));
  const wrong = client.planSampler({ model: "emoji-32", sampler: "ddim", solverOrder: 2 });
  const error = await failure(wrong, "INVALID_ARGUMENT");
  assert.deepEqual(
    error.violations.map(({ field }) => field),
    ["sampler.solver_order"],
  );
});

test("every name of a sampler with its order is one that the server takes", async () => {
  for (const sampler of namesWithOrder as SamplerName[]) {
    const plan = await client.planSampler({ model: "emoji-32", sampler, steps: 4 });
    assert.equal(plan.sampler?.solverOrder, Number(/\d/.exec(sampler)?.[0]), sampler);
  }
  assert.equal(namesWithOrder.length, 14);
});

test("a picture is turned into noise, level by level", async () => {
  const picture = readFileSync(path.join(repository, "tests/data/pictures/upright.png"));
  const events: DiffuseEvent[] = await collect(
    client.diffuse({
      model: "emoji-32",
      pictures: [picture],
      timesteps: [0, 500, 999],
      seed: 7,
      mode: "closed_form",
      encoding: "raw_float32",
    }),
  );
  assert.deepEqual(
    events.map(({ type }) => type),
    ["accepted", "frame", "frame", "frame", "frame", "finished"],
  );
  const [accepted, picture0, , , noise] = events;
  assert.ok(accepted?.type === "accepted" && picture0?.type === "frame" && noise?.type === "frame");
  assert.equal(accepted.seed, 7n);
  assert.equal(accepted.levels.length, 4);
  assert.equal(picture0.level?.timestep, undefined);
  assert.equal(picture0.level?.snr, Infinity);
  assert.equal(noise.level?.timestep, 999);
  assert.equal(noise.image.data.length, 4 * 3 * 32 * 32);
  const call = collect(client.diffuse({ model: "emoji-32", pictures: [] }));
  const error = await failure(call, "INVALID_ARGUMENT");
  assert.deepEqual(
    error.violations.map(({ field }) => field),
    ["pictures"],
  );
});

test("a token goes over plaintext to this machine only", async () => {
  const token = "dnt_ci_secret";
  assert.throws(
    () => new Client({ address: "192.0.2.1:50051", token }),
    (error: Error) =>
      error.message.includes("without encryption") && !error.message.includes(token),
  );
  await new Client({ address: "192.0.2.1:50051", token, tls: {} }).close();
  await new Client({ address: "192.0.2.1:50051", token, tokenOverPlaintext: true }).close();
  await new Client({ address: "127.0.0.1:50051", token }).close();
});

test("a name that looks like this machine gets no token", async () => {
  const token = "dnt_ci_secret";
  for (const address of ["127.0.0.2:50051", "localhost:50051", "LOCALHOST:50051", "[::1]:50051"]) {
    await new Client({ address, token }).close();
  }
  for (const host of [
    "127.example.org",
    "127.0.0.1.example.org",
    "localhost.example.org",
    "[::2]",
  ]) {
    assert.throws(() => new Client({ address: `${host}:50051`, token }), /without encryption/);
  }
  // What is before the "@" is a user.
  assert.throws(
    () => new Client({ address: "127.0.0.1:1@example.org:50051", token }),
    /without encryption/,
  );
});

test("a server with TLS is reached by those who trust its certificate", async () => {
  const folder = temporaryFolder();
  const [key, certificate] = [path.join(folder, "key.pem"), path.join(folder, "certificate.pem")];
  const request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext";
  execFileSync(
    "openssl",
    [...request.split(" "), "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
    { stdio: "ignore" },
  );
  const secure = await Server.start(starterModels, "--tls-cert", certificate, "--tls-key", key);
  const { address } = secure;
  const trusting = new Client({ address, tls: { rootCertificates: readFileSync(certificate) } });
  assert.equal((await trusting.models.list()).length, 1);
  const doubtful = new Client({ address, tls: {}, maxAttempts: 1 });
  const error = await failure(doubtful.models.list(), "UNAVAILABLE");
  assert.match(error.message, /certificate/);
  const plain = new Client({ address, maxAttempts: 1 });
  await failure(plain.models.list(), "UNAVAILABLE");
  await trusting.close();
  await secure.stop();
});
