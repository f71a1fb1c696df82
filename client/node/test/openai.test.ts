// The official client of OpenAI against the server's images API.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import OpenAI, { BadRequestError, NotFoundError, toFile } from "openai";

import { eventually } from "./support/calls.js";
import { pngPicture } from "./support/png.js";
import { run } from "./support/program.js";
import {
  modelsFolder,
  packageRoot,
  repository,
  Server,
  temporaryFolder,
} from "./support/server.js";

const people = { class_label: "people", steps: 4, seed: 7 };

let server: Server;
let client: OpenAI;

before(async () => {
  const models = modelsFolder("deploy/models/emoji-32", "tests/data/pipelines/sd15-like");
  server = await Server.start(models, "--http", "127.0.0.1:0");
  const baseURL = `http://${server.httpAddress}/v1`;
  client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
});

after(async () => {
  await server.stop();
});

function bytesOf(b64Json: string | undefined): Buffer {
  assert.ok(b64Json);
  return Buffer.from(b64Json, "base64");
}

function isPng(bytes: Buffer): boolean {
  return bytes.subarray(1, 4).toString("latin1") === "PNG";
}

// The fields of the server's own go beside those that the client knows.
function generation(extra: object) {
  return { model: "emoji-32", prompt: "", ...people, ...extra };
}

test("the client of OpenAI generates images", async () => {
  const response = await client.images.generate(generation({ n: 2 }));
  const images = response.data ?? [];
  assert.equal(images.length, 2);
  assert.ok(images.every((image) => isPng(bytesOf(image.b64_json))));
  assert.equal(response.output_format, "png");
  const text = await client.images.generate({ model: "sd15-like", prompt: "a fox", size: "auto" });
  assert.ok((text.usage?.input_tokens ?? 0) >= 2);
});

test("the client of OpenAI streams partial images", async () => {
  const stream = await client.images.generate({
    ...generation({}),
    stream: true,
    partial_images: 2,
  });
  const types: string[] = [];
  for await (const event of stream) {
    assert.ok(isPng(bytesOf(event.b64_json)));
    types.push(event.type);
  }
  const partial = "image_generation.partial_image";
  assert.deepEqual(types, [partial, "image_generation.completed"]);
});

test("the client of OpenAI edits images", async () => {
  const image = await toFile(pngPicture(32, [200, 100, 50]), "image.png");
  const edited = await client.images.edit({ ...generation({ strength: 0.5 }), image });
  assert.ok(isPng(bytesOf(edited.data?.[0]?.b64_json)));
  const mask = await toFile(pngPicture(32, [0, 0, 0]), "mask.png");
  await assert.rejects(client.images.edit({ ...generation({}), image, mask }), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.equal(error.param, "mask");
    assert.match(error.message, /no alpha channel/);
    return true;
  });
});

test("the client of OpenAI lists models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.deepEqual(ids, ["emoji-32", "sd15-like"]);
  assert.equal((await client.models.retrieve("emoji-32")).owned_by, "denoised");
});

test("the client of OpenAI gets errors as its exceptions", async () => {
  await assert.rejects(
    client.images.generate({ model: "gpt-image", prompt: "a fox" }),
    (error) => error instanceof NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.images.generate(generation({ n: 0 })),
    (error) => error instanceof BadRequestError && error.param === "n",
  );
});

// How many generations have ended in this way.
async function ended(outcome: "OK" | "CANCELLED"): Promise<number> {
  const page = await (await fetch(`http://${server.httpAddress}/metrics`)).text();
  const [, count] =
    new RegExp(`^denoised_requests_total{outcome="${outcome}"} (\\d+)$`, "m").exec(page) ?? [];
  return Number(count ?? 0);
}

test("the client of OpenAI cancels a generation whose stream it leaves", async () => {
  const finished = await ended("OK");
  const stream = await client.images.generate({
    ...generation({ steps: 1000 }),
    stream: true,
    partial_images: 3,
  });
  for await (const event of stream) {
    assert.equal(event.type, "image_generation.partial_image");
    break;
  }
  await eventually(async () => {
    assert.equal(await ended("OK"), finished);
    return (await ended("CANCELLED")) === 1 ? true : undefined;
  });
});

test("the example of the page runs", async () => {
  const page = readFileSync(path.join(repository, "docs/openai.md"), "utf8");
  const code = /^```ts\n(.*?)^```$/ms.exec(page)?.[1];
  assert.ok(code);
  // Inside the package, so that it finds the client.
  const sources = path.join(packageRoot, "dist/documentation");
  mkdirSync(sources, { recursive: true });
  const program = path.join(sources, "openai.mjs");
  writeFileSync(program, code.replace("127.0.0.1:8080", server.httpAddress));
  const folder = temporaryFolder();
  await run(process.execPath, [program], { cwd: folder });
  assert.deepEqual(readdirSync(folder).sort(), [
    "image.png",
    "partial-0.png",
    "partial-1.png",
    "partial-2.png",
  ]);
});
