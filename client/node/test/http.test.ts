// The published clients of Connect and gRPC-Web against the server's HTTP listener.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

import { BadRequestSchema } from "../src/gen/google/rpc/error_details_pb.js";
import {
  Datasets,
  GenerateRequestSchema,
  ImageGeneration,
  Models,
  UploadDatasetRequestSchema,
} from "../src/proto.js";
import { Server, starterModels, temporaryFolder } from "./support/server.js";

let server: Server;

before(async () => {
  server = await Server.start(starterModels, "--http", "127.0.0.1:0", "--state", temporaryFolder());
});

after(async () => {
  await server.stop();
});

const transports: Record<string, () => Transport> = {
  "Connect in binary": () => createConnectTransport(options({ useBinaryFormat: true })),
  "Connect in JSON": () => createConnectTransport(options({ useBinaryFormat: false })),
  "gRPC-Web": () => createGrpcWebTransport(options({ useBinaryFormat: true })),
};

function options<Format>(format: Format) {
  return { baseUrl: `http://${server.httpAddress}`, httpVersion: "1.1" as const, ...format };
}

function requestOf(steps: number, count = 1) {
  return create(GenerateRequestSchema, {
    model: "models/emoji-32",
    classLabel: 2,
    seed: 7n,
    count,
    sampler: { steps },
    frames: { everyNSteps: 1 },
  });
}

async function imageOf(transport: Transport): Promise<Uint8Array> {
  let image: Uint8Array | undefined;
  let frames = 0;
  for await (const event of createClient(ImageGeneration, transport).generate(requestOf(4))) {
    if (event.event.case === "frame") frames += 1;
    if (event.event.case === "image") image = event.event.value.image?.data;
  }
  assert.equal(frames, 4);
  assert.ok(image);
  return image;
}

for (const [name, transport] of Object.entries(transports)) {
  test(`${name} calls unary methods and reads streams`, async () => {
    const { models } = await createClient(Models, transport()).listModels({});
    assert.deepEqual(
      models.map((model) => model.name),
      ["models/emoji-32"],
    );
    assert.deepEqual(
      await imageOf(transport()),
      await imageOf(createConnectTransport(options({}))),
    );
  });

  test(`${name} sends streams`, async () => {
    const sent: string[] = [];
    const upload = async function* () {
      for (const name of ["datasets/../x", "datasets/second"]) {
        sent.push(name);
        yield create(UploadDatasetRequestSchema, {
          message: { case: "header", value: { name, totalBytes: 5n } },
        });
        await Promise.resolve();
      }
    };
    await assert.rejects(
      createClient(Datasets, transport()).uploadDataset(upload()),
      (error: unknown) => {
        assert.ok(error instanceof ConnectError);
        assert.equal(error.code, Code.InvalidArgument);
        assert.match(error.message, /header.name/);
        return true;
      },
    );
    assert.equal(sent[0], "datasets/../x");
  });

  test(`${name} gets the details of errors`, async () => {
    const events = createClient(ImageGeneration, transport()).generate(requestOf(4, 0));
    await assert.rejects(
      async () => {
        for await (const event of events) assert.notEqual(event.event.case, "finished");
      },
      (error: unknown) => {
        assert.ok(error instanceof ConnectError);
        assert.equal(error.code, Code.InvalidArgument);
        const [details] = error.findDetails(BadRequestSchema);
        assert.deepEqual(
          details?.fieldViolations.map(({ field }) => field),
          ["count"],
        );
        return true;
      },
    );
  });

  test(`${name} cancels and has deadlines`, async () => {
    const stop = new AbortController();
    const client = createClient(ImageGeneration, transport());
    const codeOf = async (callOptions: { signal?: AbortSignal; timeoutMs?: number }) => {
      try {
        for await (const event of client.generate(requestOf(1000), callOptions)) {
          if (event.event.case === "frame") stop.abort();
        }
        return undefined;
      } catch (error) {
        return ConnectError.from(error).code;
      }
    };
    assert.equal(await codeOf({ signal: stop.signal }), Code.Canceled);
    assert.equal(await codeOf({ timeoutMs: 1 }), Code.DeadlineExceeded);
  });
}
