import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Client, type DenoisedError, type GenerateOptions } from "../src/index.js";
import { GenerateRequestSchema, Sampler } from "../src/proto.js";
import { collect, eventually, failure, only } from "./support/calls.js";
import { CuttingProxy } from "./support/cutting-proxy.js";
import { run } from "./support/program.js";
import { packageRoot, Server, starterModels } from "./support/server.js";

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start(starterModels);
  client = new Client({ address: server.address });
});

after(async () => {
  await client.close();
  await server.stop();
});

const animal = { model: "emoji-32", classLabel: 2, steps: 4, seed: 7 } as const;
// Runs until it is cancelled, as far as a test is concerned.
const endless = { model: "emoji-32", classLabel: 2, count: 64, steps: 1000 } as const;

test("the events tell a generation from beginning to end", async () => {
  const events = await collect(client.generate({ ...animal, count: 2 }));

  const [accepted] = only(events, "accepted");
  assert.ok(accepted);
  assert.equal(events[0], accepted);
  assert.equal(accepted.model, "models/emoji-32");
  assert.equal(accepted.seed, 7n);
  assert.equal(accepted.steps, 4);
  assert.equal(accepted.timesteps.length, 4);
  assert.ok(accepted.time instanceof Date);
  assert.equal(only(events, "started").length, 1);
  assert.ok(only(events, "progress").length > 0);

  const images = only(events, "image");
  assert.deepEqual(images.map(({ imageIndex }) => imageIndex).sort(), [0, 1]);
  assert.deepEqual(images.map(({ seed }) => seed).sort(), [7n, 8n]);
  for (const { image } of images) {
    assert.equal(image.encoding, "png");
    assert.deepEqual([image.height, image.width, image.channels], [32, 32, 3]);
    assert.equal(Buffer.from(image.data.subarray(1, 4)).toString(), "PNG");
  }

  const last = events.at(-1);
  assert.equal(last?.type, "finished");
  assert.equal(last.images, 2);
  assert.ok(last.elapsedMs > 0);
  const numbers = events.map(({ sequence }) => sequence);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  );
});

test("the same seed gives the same bytes, and another seed gives others", async () => {
  const [first] = await client.generateImages(animal);
  const [again] = await client.generateImages(animal);
  const [other] = await client.generateImages({ ...animal, seed: 8 });
  assert.ok(first && again && other);
  assert.deepEqual(first.image.data, again.image.data);
  assert.notDeepEqual(first.image.data, other.image.data);
});

test("a request of generated messages makes the same image as plain options", async () => {
  const request = create(GenerateRequestSchema, {
    model: "models/emoji-32",
    classLabel: 2,
    seed: 7n,
    sampler: { sampler: Sampler.DPMPP, solverOrder: 2, steps: 4 },
    guidance: { scale: 2 },
  });
  const [ready] = await client.generateImages(request);
  const [plain] = await client.generateImages({
    ...animal,
    classLabel: "Animals",
    sampler: "dpmpp_2m",
    guidanceScale: 2,
  });
  assert.ok(ready && plain);
  assert.deepEqual(plain.image.data, ready.image.data);
});

test("options reach the server as it echoes them", async () => {
  const events = await collect(
    client.generate({
      model: "models/emoji-32",
      classWeights: { animals: 1, "3": 3 },
      sampler: "dpmpp_2m_sde",
      sigmaSpacing: "karras",
      steps: 3,
      rho: 5,
      seed: 2n ** 64n - 1n,
      count: 2,
      guidanceScale: 3,
      guidanceRescale: 0.5,
      guidanceSigmaMin: 0.25,
    }),
  );
  const [accepted] = only(events, "accepted");
  assert.ok(accepted?.sampler && accepted.guidance);
  const weights = accepted.classWeights.map(({ classLabel, weight }) => [classLabel, weight]);
  assert.deepEqual(
    new Map(weights as [number, number][]),
    new Map([
      [2, 0.25],
      [3, 0.75],
    ]),
  );
  assert.equal(accepted.sampler.sampler, "dpmpp_sde");
  assert.equal(accepted.sampler.solverOrder, 2);
  assert.equal(accepted.sampler.sigmaSpacing, "karras");
  assert.equal(accepted.sampler.rho, 5);
  assert.equal(accepted.seed, 2n ** 64n - 1n);
  assert.deepEqual(
    [accepted.guidance.scale, accepted.guidance.rescale, accepted.guidance.sigmaMin],
    [3, 0.5, 0.25],
  );
  assert.deepEqual(
    only(events, "image")
      .map(({ seed }) => seed)
      .sort(),
    [0n, 2n ** 64n - 1n],
  );
});

test("frames come after the steps that were asked for, of each kind", async () => {
  const request = {
    ...animal,
    sampler: "ddim",
    frames: { everyNSteps: 2, kinds: ["x_t", "x0"], encoding: "raw_float32" },
  } as const;
  const events = await collect(client.generate(request));
  const frames = only(events, "frame");
  assert.deepEqual(
    frames.map(({ step, kind }) => [step, kind]),
    [
      [2, "x_t"],
      [2, "x0"],
      [4, "x_t"],
      [4, "x0"],
    ],
  );
  for (const { image } of frames) assert.equal(image.data.length, 4 * 3 * 32 * 32);
  assert.equal(only(await collect(client.generate({ ...animal, frames: 1 })), "frame").length, 4);
});

test("a generation continues from a frame of another, bit for bit", async () => {
  const settings = { ...animal, sampler: "ddim" } as const;
  const frames = { everyNSteps: 1, kinds: ["x_t"], encoding: "raw_float32" } as const;
  const events = await collect(client.generate({ ...settings, frames }));
  const frame = only(events, "frame").find(({ step }) => step === 2);
  assert.ok(frame);
  const [continued] = await client.generateImages({
    ...settings,
    start: { frame: { sample: frame.image.data, step: 2 } },
  });
  assert.deepEqual(continued?.image.data, only(events, "image")[0]?.image.data);
});

test("leaving the loop early cancels the generation", async () => {
  let name = "";
  for await (const event of client.generate(endless)) {
    if (event.type === "accepted") name = event.generation;
    if (event.type === "progress") break;
  }
  const state = await eventually(async () => {
    const { state } = await client.generations.get(name);
    return state === "cancelling" ? undefined : state;
  });
  assert.equal(state, "cancelled");
});

test("an error in the loop cancels the generation", async () => {
  let name = "";
  const show = async () => {
    for await (const event of client.generate(endless)) {
      if (event.type === "accepted") name = event.generation;
      if (event.type === "progress") throw new RangeError("the picture does not fit");
    }
  };
  await assert.rejects(show, RangeError);
  assert.match(String((await client.generations.get(name)).state), /cancell/);
});

test("an aborted signal ends the call and cancels the generation", async () => {
  const abort = new AbortController();
  let name = "";
  const call = (async () => {
    for await (const event of client.generate(endless, { signal: abort.signal })) {
      if (event.type === "accepted") name = event.generation;
      if (event.type === "progress") abort.abort(new Error("the user has left"));
    }
  })();
  const error = await failure(call, "CANCELLED");
  assert.match(String(error.cause), /the user has left/);
  assert.match(String((await client.generations.get(name)).state), /cancell/);
});

test("a signal that is aborted already starts nothing", async () => {
  const requestId = "never-started";
  const call = collect(client.generate({ ...animal, requestId }, { signal: AbortSignal.abort() }));
  await failure(call, "CANCELLED");
  await failure(client.generations.get(requestId), "NOT_FOUND");
});

test("a timeout ends the call and cancels the generation", async () => {
  const requestId = "too-slow";
  const call = collect(client.generate({ ...endless, requestId }, { timeoutMs: 3000 }));
  const error = await failure(call, "DEADLINE_EXCEEDED");
  assert.match(error.message, /deadline/);
  assert.match(String((await client.generations.get(requestId)).state), /cancell/);
});

test("a program ends once its loop has been left, whatever its timeout", async () => {
  const program = `
    import { Client } from "denoised-client";
    const request = ${JSON.stringify(endless)};
    for await (const event of new Client().generate(request, { timeoutMs: 3_600_000 })) {
      if (event.type === "progress") break;
    }
    console.log("left");`;
  const place = { cwd: packageRoot, env: { DENOISED_SERVER: server.address } };
  const output = await run(process.execPath, ["--input-type=module", "--eval", program], place);
  assert.equal(output, "left\n");
});

test("a detached generation continues after its caller has left", async () => {
  const request = { ...animal, requestId: "zoo", onDisconnect: "detach", steps: 20 } as const;
  for await (const event of client.generate(request)) {
    if (event.type === "accepted") break;
  }
  const events = await collect(client.generations.watch("zoo"));
  assert.equal(events[0]?.type, "accepted");
  assert.equal(events.at(-1)?.type, "finished");
  assert.equal((await client.generations.get("zoo")).state, "succeeded");
});

test("the same request again gets the result that is kept", async () => {
  const request = { ...animal, requestId: "photo-1" };
  const first = await collect(client.generate(request));
  const again = await collect(client.generate(request));
  assert.deepEqual(only(again, "image"), only(first, "image"));
  const other = collect(client.generate({ ...request, steps: 5 }));
  await failure(other, "ALREADY_EXISTS");
});

test("a generation that ends with its connection is not kept", async () => {
  const request = { ...animal, onDisconnect: "cancel" } as const;
  const events = await collect(client.generate(request));
  const [accepted] = only(events, "accepted");
  assert.ok(accepted);
  assert.equal(only(events, "image").length, 1);
  const code = await eventually(async () => {
    const found = client.generations.get(accepted.generation);
    return found.then(
      () => undefined,
      (error: unknown) => (error as DenoisedError).code,
    );
  });
  assert.equal(code, "NOT_FOUND");
});

test("generations are listed, described, watched from an event on, and cancelled", async () => {
  const requestId = "listed";
  const events = await collect(client.generate({ ...animal, requestId }));
  const generation = await client.generations.get("generations/listed");
  assert.equal(generation.state, "succeeded");
  assert.equal(generation.lastSequence, events.at(-1)?.sequence);
  assert.equal(generation.accepted?.seed, 7n);
  assert.ok(generation.createTime instanceof Date);
  const names = (await client.generations.list()).map(({ name }) => name);
  assert.ok(names.includes("generations/listed"));

  const [image] = only(events, "image");
  assert.ok(image);
  const rest = await collect(client.generations.watch(requestId, { resumeAfter: image.sequence }));
  assert.deepEqual(
    rest.map(({ type }) => type),
    ["finished"],
  );
  await failure(client.generations.cancel(requestId), "FAILED_PRECONDITION");
});

test("a reader of a generation that is cancelled hears of it", async () => {
  const requestId = "stopped-by-another";
  const call = (async () => {
    for await (const event of client.generate({ ...endless, requestId })) {
      if (event.type === "started") await client.generations.cancel(requestId);
    }
  })();
  await failure(call, "CANCELLED");
});

test("a closed client ends its calls and refuses others", async () => {
  const other = new Client({ address: server.address });
  const call = (async () => {
    for await (const event of other.generate({ ...endless, onDisconnect: "cancel" })) {
      if (event.type === "progress") await other.close();
    }
  })();
  await failure(call, "CANCELLED");
  await failure(other.checkHealth(), "CANCELLED");
});

// The name of a generation that runs, and the end of the loop that reads it.
async function running(
  reader: Client,
  options: Partial<GenerateOptions> = {},
): Promise<{ name: string; loop: Promise<unknown> }> {
  const events = reader.generate({ ...endless, ...options });
  for (;;) {
    const { value } = await events.next();
    assert.ok(value);
    if (value.type === "accepted") {
      return { name: value.generation, loop: failure(collect(events), "CANCELLED") };
    }
  }
}

test("closing the client cancels what leaving the loop would cancel", async () => {
  const other = new Client({ address: server.address });
  const owned = [await running(other), await running(other, { requestId: "closed" })];
  const detached = await running(other, { onDisconnect: "detach" });
  const closing = other.close();
  await failure(other.checkHealth(), "CANCELLED");
  await closing;
  for (const { name, loop } of owned) {
    assert.match(String((await client.generations.get(name)).state), /cancell/);
    await loop;
  }
  await client.generations.cancel(detached.name); // fails unless it runs
  await detached.loop;
  await other.close(); // again: nothing is left to do
});

test("a server that does not answer does not hold up closing", async () => {
  const proxy = await CuttingProxy.to(server.address);
  const other = new Client({ address: proxy.address });
  const { name, loop } = await running(other);
  proxy.answers = false;
  await other.close();
  await loop;
  proxy.close();
  assert.match(String((await client.generations.get(name)).state), /cancell/);
});

test("the health of the server and of its services is known", async () => {
  assert.equal(await client.checkHealth(), "serving");
  assert.equal(await client.checkHealth("denoised.v1.ImageGeneration"), "serving");
  await failure(client.checkHealth("denoised.v1.Nothing"), "NOT_FOUND");
});

test("activity shows a generation while it runs", async () => {
  const generation = client.generate(endless);
  const { value: accepted } = await generation.next();
  assert.ok(accepted?.type === "accepted");
  for await (const { devices } of client.watchActivity({ intervalMs: 50 })) {
    const images = devices.flatMap((device) => device.images);
    const shown = images.find((image) => image.generation === accepted.generation);
    if (!shown) continue;
    assert.equal(shown.model, "models/emoji-32");
    assert.deepEqual([shown.height, shown.width, shown.steps], [32, 32, 1000]);
    break;
  }
  await generation.return();
});

test("an interval out of range is refused by its name", async () => {
  const snapshots = collect(client.watchActivity({ intervalMs: 1 }));
  const refused = await failure(snapshots, "INVALID_ARGUMENT");
  assert.deepEqual(
    refused.violations.map(({ field }) => field),
    ["interval"],
  );
});
