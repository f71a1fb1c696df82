import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { Client, type DatasetFile, type LeftOutFile, type TrainingEvent } from "../src/index.js";
import { failure } from "./support/calls.js";
import { CuttingProxy } from "./support/cutting-proxy.js";
import { pngPicture } from "./support/png.js";
import { modelsFolder, Server, temporaryFolder } from "./support/server.js";

let models: string;
let state: string;
let server: Server;
let client: Client;

before(async () => {
  models = modelsFolder("deploy/models/emoji-32");
  state = path.join(temporaryFolder(), "state");
  server = await Server.start(models, "--state", state);
  client = new Client({ address: server.address });
});

after(async () => {
  await client.close();
  await server.stop();
});

// Sixteen pictures in two classes, a file that is none, and a hidden one.
function picturesFolder(): string {
  const folder = path.join(temporaryFolder(), "pets");
  for (const name of ["cats", "dogs"]) mkdirSync(path.join(folder, name), { recursive: true });
  for (let i = 0; i < 8; ++i) {
    writeFileSync(path.join(folder, "cats", `${i}.png`), pngPicture(16, [30 * i, 20, 90]));
    writeFileSync(path.join(folder, "dogs", `${i}.png`), pngPicture(16, [200, 30 * i, 10]));
  }
  writeFileSync(path.join(folder, "license.txt"), "These pictures are free.");
  writeFileSync(path.join(folder, "cats", ".hidden.png"), pngPicture(16, [0, 0, 0]));
  return folder;
}

const tinyNetwork = {
  height: 16,
  width: 16,
  blockOutChannels: [8, 8],
  layersPerBlock: 1,
  noAttention: true,
};

test("a folder is uploaded as a data set with its classes", async () => {
  const leftOut: LeftOutFile[] = [];
  const progress: [number, number][] = [];
  const dataset = await client.datasets.upload(picturesFolder(), {
    onLeftOut: (file) => leftOut.push(file),
    onProgress: (...bytes) => progress.push(bytes),
  });
  assert.equal(dataset.name, "datasets/pets");
  assert.equal(dataset.state, "ready");
  assert.equal(dataset.report?.pictures, 16);
  assert.deepEqual(
    dataset.report.classes.map(({ displayName, pictures }) => [displayName, pictures]),
    [
      ["cats", 8],
      ["dogs", 8],
    ],
  );
  assert.deepEqual(dataset.report.picturesByChannels, { 3: 16 });
  assert.deepEqual(leftOut, [{ name: "license.txt", reason: "not a picture" }]);
  assert.deepEqual(progress.at(-1), [dataset.totalBytes, dataset.totalBytes]);
  assert.deepEqual(
    (await client.datasets.list()).map(({ name }) => name),
    ["datasets/pets"],
  );
  assert.equal((await client.datasets.get("pets")).storedBytes, dataset.storedBytes);
  await failure(client.datasets.upload(picturesFolder(), { name: "pets" }), "ALREADY_EXISTS");
});

test("a folder and its files one by one make the same archive", async () => {
  const folder = picturesFolder();
  async function* files(): AsyncGenerator<DatasetFile> {
    for (const name of ["dogs", "cats"]) {
      for (let i = 7; i >= 0; --i) {
        await Promise.resolve();
        yield { name: `${name}/${i}.png`, data: readFileSync(path.join(folder, name, `${i}.png`)) };
      }
    }
  }
  const uploaded = await client.datasets.upload(files(), { name: "one-by-one" });
  const pets = await client.datasets.get("pets");
  assert.equal(uploaded.totalBytes, pets.totalBytes);
  assert.deepEqual(uploaded.report?.classes, pets.report?.classes);
  await client.datasets.delete("one-by-one");
  await failure(client.datasets.get("one-by-one"), "NOT_FOUND");
});

test("names longer than a tar header takes arrive whole", async () => {
  const long = `${"kittens-".repeat(20)}and-cats`;
  const data = pngPicture(16, [1, 2, 3]);
  const dataset = await client.datasets.upload(
    [
      { name: `${long}/1.png`, data },
      { name: "ünïcode/1.png", data },
    ],
    { name: "long-names" },
  );
  assert.deepEqual(
    dataset.report?.classes.map(({ displayName }) => displayName).sort(),
    [long, "ünïcode"].sort(),
  );
});

test("a folder without pictures, or with a class that would be lost, is refused here", async () => {
  const empty = temporaryFolder();
  const nothing = await failure(client.datasets.upload(empty), "INVALID_ARGUMENT");
  assert.match(nothing.message, /no picture/);
  const folder = picturesFolder();
  mkdirSync(path.join(folder, "birds"));
  writeFileSync(path.join(folder, "birds", "0.gif"), "GIF89a");
  const lost = await failure(client.datasets.upload(folder, { name: "birds" }), "INVALID_ARGUMENT");
  assert.match(lost.message, /"birds" holds no picture.*"0\.gif"/);
  const missing = client.datasets.upload(path.join(folder, "no-such-file"));
  assert.match((await failure(missing, "INVALID_ARGUMENT")).message, /no-such-file/);
  const wrongName = client.datasets.upload(folder + "/cats", { name: "a name!" });
  const error = await failure(wrongName, "INVALID_ARGUMENT");
  assert.deepEqual(
    error.violations.map(({ field }) => field),
    ["name"],
  );
});

test("links to files are followed, and links to folders are not", async () => {
  const folder = path.join(temporaryFolder(), "linked");
  const target = picturesFolder();
  mkdirSync(folder);
  symlinkSync(path.join(target, "cats"), path.join(folder, "cats"));
  symlinkSync(path.join(target, "dogs/1.png"), path.join(folder, "1.png"));
  assert.equal((await client.datasets.upload(folder)).report?.pictures, 1);
});

test("an upload whose connection breaks continues where it stopped", async () => {
  const proxy = await CuttingProxy.to(server.address);
  const through = new Client({ address: proxy.address });
  const files = [0, 1, 2, 3].map((i) => ({
    name: `${i}.png`,
    data: pngPicture(1024, [i, 9, 9], true),
  }));
  let chunks = 0;
  const dataset = await through.datasets.upload(files, {
    name: "interrupted",
    onProgress: () => {
      if (++chunks === 20) proxy.cut();
    },
  });
  assert.equal(dataset.state, "ready");
  assert.equal(dataset.report?.pictures, 4);
  assert.ok(proxy.connections > 1);
  assert.ok(chunks > dataset.totalBytes / 2 ** 18);
  await through.close();
  proxy.close();
});

test("a file that shrinks while it is uploaded ends the upload", async () => {
  const folder = picturesFolder();
  writeFileSync(path.join(folder, "cats/9.png"), pngPicture(1024, [5, 5, 5], true));
  const call = client.datasets.upload(folder, {
    name: "shrinking",
    onProgress: (sent) => {
      if (sent <= 2 ** 18) writeFileSync(path.join(folder, "dogs/7.png"), "");
    },
  });
  const error = await failure(call, "FAILED_PRECONDITION");
  assert.match(error.message, /dogs\/7\.png.*has changed/);
});

test("what a callback throws ends the upload, and is passed on", async () => {
  const call = client.datasets.upload(picturesFolder(), {
    name: "given-up",
    onProgress: () => {
      throw new RangeError("the user has left");
    },
  });
  await assert.rejects(call, RangeError);
});

test("an aborted signal ends an upload", async () => {
  const abort = new AbortController();
  const call = client.datasets.upload(picturesFolder(), {
    name: "aborted",
    signal: abort.signal,
    onProgress: () => {
      abort.abort();
    },
  });
  await failure(call, "CANCELLED");
});

test("a job trains, is watched from an event on, and its model is published and used", async () => {
  const created = await client.training.create(
    {
      dataset: "pets",
      newNetwork: tinyNetwork,
      maxSteps: 3,
      batchSize: 2,
      seed: 1,
      objective: { weighting: "min_snr", loss: "simple" },
      samples: { everyNSteps: 3, count: 2, sampler: { sampler: "ddim", steps: 2 } },
    },
    { labels: { from: "node" } },
  );
  assert.match(created.name, /^trainingJobs\//);
  assert.equal(created.training?.dataset, "datasets/pets");
  assert.equal(created.training.objective?.weighting, "min_snr");
  assert.equal(created.training.newNetwork?.noiseSchedule, "squaredcos_cap_v2");
  assert.equal(created.training.seed, 1n);
  assert.deepEqual(created.labels, { from: "node" });

  const events: TrainingEvent[] = [];
  for await (const event of client.training.watch(created.name)) events.push(event);
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, i) => i + 1),
  );
  const last = events.findLast((event) => event.type === "stateChange");
  assert.equal(last?.state, "succeeded", last?.reason);
  const grid = events.find((event) => event.type === "sampleGrid");
  assert.equal(grid?.image.encoding, "png");
  assert.ok(events.some((event) => event.type === "progress" && event.step === 3));

  const rest: TrainingEvent[] = [];
  const resumeAfter = events.length - 1;
  for await (const event of client.training.watch(created.name, { resumeAfter })) rest.push(event);
  assert.deepEqual(rest, events.slice(-1));

  const [checkpoint] = await client.training.listCheckpoints(created.name);
  assert.equal(checkpoint?.step, 3);
  const model = await client.training.publish(created.name, { model: "pets", step: 3 });
  assert.equal(model.name, "models/pets");
  const [image] = await client.generateImages({ model: "pets", classLabel: "dogs", steps: 2 });
  assert.equal(image?.image.width, 16);

  await client.training.delete(created.name);
  await failure(client.training.get(created.name), "NOT_FOUND");
});

test("a job is paused, resumed and cancelled, through a server that starts again", async () => {
  const settings = { dataset: "pets", newNetwork: tinyNetwork, maxSteps: 1_000_000, batchSize: 2 };
  const requestId = "long";
  const job = await client.training.create(settings, { requestId });
  assert.equal((await client.training.create(settings, { requestId })).name, job.name);
  const states: (string | undefined)[] = [];
  const numbers: number[] = [];
  for await (const event of client.training.watch(job.name)) {
    numbers.push(event.sequence);
    if (event.type !== "stateChange") continue;
    states.push(event.state);
    if (event.state === "running" && !states.includes("paused"))
      await client.training.pause(job.name);
    if (event.state === "paused") {
      const { address } = server;
      await server.stop("SIGTERM");
      server = await Server.start(models, "--state", state, "--listen", address);
      await client.training.resume(job.name);
    }
    if (event.state === "running" && states.includes("paused")) {
      await client.training.cancel(job.name);
    }
  }
  assert.equal(states.at(-1), "cancelled");
  assert.ok(states.includes("paused"));
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i + 1),
  );
  const cancelled = await client.training.list({ states: ["cancelled"] });
  assert.deepEqual(
    cancelled.map(({ name }) => name),
    [job.name],
  );
  await failure(client.training.resume(job.name), "FAILED_PRECONDITION");
});

test("a model is evaluated against a data set", async () => {
  const job = await client.training.evaluate({
    model: "pets",
    dataset: "pets",
    sampleCount: 4,
    sampler: { sampler: "dpmpp_2m", steps: 2 },
    features: "pixels",
  });
  assert.equal(job.evaluation?.sampler?.solverOrder, 2);
  for await (const event of client.training.watch(job.name)) {
    if (event.type === "evaluation") assert.equal(event.samples, 4);
  }
  const { state, evaluationResult } = await client.training.get(job.name);
  assert.equal(state, "succeeded");
  assert.ok(Number.isFinite(evaluationResult?.frechetDistance));
});

test("settings that are wrong are refused with all of them", async () => {
  const wrong = { dataset: "pets", newNetwork: tinyNetwork, maxSteps: 0, batchSize: 0 };
  const error = await failure(client.training.create(wrong), "INVALID_ARGUMENT");
  assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
    "training.batch_size",
    "training.max_steps",
  ]);
  const both = { ...wrong, baseModel: "emoji-32" };
  const conflict = await failure(client.training.create(both), "INVALID_ARGUMENT");
  assert.match(conflict.message, /base_model: must be absent|new_network: must be absent/);
});

test("a server that does not train says so", async () => {
  const other = await Server.start(models);
  const idle = new Client({ address: other.address });
  await failure(idle.training.list(), "UNIMPLEMENTED");
  await idle.close();
  await other.stop();
});
