import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { Client, type GenerateEvent } from "../src/index.js";
import { collect, failure, only } from "./support/calls.js";
import { Server, serverBinary, starterModels, temporaryFolder } from "./support/server.js";

let server: Server;
let client: Client;

before(async () => {
  const key = path.join(temporaryFolder(), "key");
  writeFileSync(key, execFileSync(serverBinary(), ["new-handover-key"]));
  server = await Server.start(starterModels, "--handover-key", key);
  client = new Client({ address: server.address });
});

after(async () => {
  await client.close();
  await server.stop();
});

const request = {
  model: "emoji-32",
  classLabel: 2,
  seed: 7,
  sampler: "ddim",
  steps: 400,
} as const;

test("a generation is paused and resumed, and its image is the same", async () => {
  const events: GenerateEvent[] = [];
  const reading = (async () => {
    for await (const event of client.generate({ ...request, requestId: "zoo" })) {
      events.push(event);
      if (event.type === "progress" && only(events, "progress").length === 1) {
        const { generation } = await client.generations.pause("zoo");
        assert.equal(generation.state, "paused");
      }
    }
  })();
  assert.equal((await failure(reading, "ABORTED")).reason, "GENERATION_PAUSED");
  assert.equal(events.at(-1)?.type, "handover");

  const { token, expireTime } = await client.generations.pause("zoo");
  assert.ok(expireTime && expireTime.getTime() > Date.now());
  const resumed = await collect(client.resume(token));
  assert.equal(resumed.at(-1)?.type, "finished");
  const [whole] = await client.generateImages(request);
  assert.deepEqual(only(resumed, "image")[0]?.image.data, whole?.image.data);
});

test("what has ended cannot be paused", async () => {
  await collect(client.generate({ ...request, steps: 2, requestId: "done" }));
  await failure(client.generations.pause("done"), "FAILED_PRECONDITION");
  await failure(client.generations.pause("never"), "NOT_FOUND");
});
