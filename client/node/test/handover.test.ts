import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { Client, type GenerateEvent } from "../src/index.js";
import * as proto from "../src/proto.js";
import { collect, failure, only } from "./support/calls.js";

type EventInit = MessageInitShape<typeof proto.GenerateEventSchema>;
type Handler = (request: proto.GenerateRequest) => AsyncIterable<EventInit>;

const token = new TextEncoder().encode("sealed");

// Serves Generate as the test says, in this process, for one client.
async function withServer(generate: Handler, use: (client: Client) => Promise<void>) {
  const routes = connectNodeAdapter({
    routes: (router) => router.rpc(proto.ImageGeneration.method.generate, generate),
  });
  const server = createServer(routes).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = new Client({ address: `127.0.0.1:${String(port)}` });
  try {
    await use(client);
  } finally {
    await client.close();
    server.close();
  }
}

function event(sequence: number, what: EventInit["event"]): EventInit {
  return { sequence: BigInt(sequence), event: what };
}

async function* firstServer(): AsyncGenerator<EventInit> {
  yield event(0, { case: "accepted", value: { count: 2 } });
  yield event(1, { case: "image", value: { imageIndex: 0 } });
  yield event(2, { case: "handover", value: { token } });
  await Promise.resolve();
  throw new ConnectError("the server drains", Code.Unavailable);
}

async function* secondServer(): AsyncGenerator<EventInit> {
  yield event(3, { case: "accepted", value: { count: 2, evaluationsDone: 7 } });
  yield event(4, { case: "image", value: { imageIndex: 1 } });
  await Promise.resolve();
  yield event(5, { case: "finished", value: { images: 1 } });
}

for (const onDisconnect of [undefined, "cancel", "detach"] as const) {
  test(`a stream continues on another server (${onDisconnect ?? "as usual"})`, async () => {
    const requests: proto.GenerateRequest[] = [];
    const generate: Handler = (request) => {
      requests.push(request);
      return request.handover.length > 0 ? secondServer() : firstServer();
    };
    await withServer(generate, async (client) => {
      const events = await collect(client.generate({ model: "faces", onDisconnect }));
      const numbers = events.map(({ sequence }) => sequence);
      assert.deepEqual(numbers, [0, 1, 4, 5]);
      assert.equal(only(events, "accepted").length, 1);
    });
    assert.equal(requests.length, 2);
    assert.equal(requests[0]?.acceptHandover, true);
    assert.deepEqual(requests[1], create(proto.GenerateRequestSchema, { handover: token }));
  });
}

// Answers a request that presents no handover, then the n-th one that does.
function handingOver(
  present: (n: number) => AsyncGenerator<EventInit>,
): [Handler, presented: () => number] {
  let presented = 0;
  const generate: Handler = (request) => {
    if (request.handover.length === 0) return firstServer();
    presented += 1;
    return present(presented);
  };
  return [generate, () => presented];
}

// eslint-disable-next-line require-yield, @typescript-eslint/require-await -- fails at once
async function* closingServer(): AsyncGenerator<EventInit> {
  throw new ConnectError("the server closes its connections", Code.Canceled);
}

test("a handover that a closing server cancels is presented again", async () => {
  const [generate, presented] = handingOver((n) => (n < 3 ? closingServer() : secondServer()));
  await withServer(generate, async (client) => {
    const events = await collect(client.generate({ model: "faces" }));
    assert.equal(events.at(-1)?.type, "finished");
  });
  assert.equal(presented(), 3);
});

test("a handover that is always cancelled ends the stream", async () => {
  const [generate, presented] = handingOver(closingServer);
  await withServer(generate, async (client) => {
    await failure(collect(client.generate({ model: "faces" })), "CANCELLED");
  });
  assert.ok(presented() > 1);
});

test("CANCELLED after an answer means what it says", async () => {
  const [generate, presented] = handingOver(async function* () {
    yield event(3, { case: "accepted", value: { count: 2, evaluationsDone: 7 } });
    yield* closingServer();
  });
  await withServer(generate, async (client) => {
    await failure(collect(client.generate({ model: "faces" })), "CANCELLED");
  });
  assert.equal(presented(), 1);
});

test("a caller who cancels presents nothing again", async () => {
  const left = new AbortController();
  const [generate, presented] = handingOver(async function* () {
    left.abort();
    yield* closingServer();
  });
  await withServer(generate, async (client) => {
    const stream = client.generate({ model: "faces" }, { signal: left.signal });
    await failure(collect(stream), "CANCELLED");
  });
  assert.equal(presented(), 1);
});

test("a pause is not followed, and brings its token", async () => {
  const requests: proto.GenerateRequest[] = [];
  const generate: Handler = async function* (request) {
    requests.push(request);
    yield event(0, { case: "accepted", value: { count: 2 } });
    yield event(1, { case: "handover", value: { token, paused: true } });
    await Promise.resolve();
    throw new ConnectError("the generation was paused", Code.Aborted);
  };
  await withServer(generate, async (client) => {
    const events: GenerateEvent[] = [];
    const reading = (async () => {
      for await (const event of client.generate({ model: "faces" })) events.push(event);
    })();
    await failure(reading, "ABORTED");
    assert.deepEqual(only(events, "handover")[0]?.token, token);
  });
  assert.equal(requests.length, 1);
});
