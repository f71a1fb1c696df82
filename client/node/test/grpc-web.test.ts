// Google's own client of gRPC-Web against the server's HTTP listener.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import {
  create,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import grpcWeb from "grpc-web";

import {
  type GenerateEvent,
  GenerateEventSchema,
  GenerateRequestSchema,
  ListModelsRequestSchema,
  ListModelsResponseSchema,
} from "../src/proto.js";
import { Server, starterModels } from "./support/server.js";

let server: Server;

before(async () => {
  // Browsers have it. The package says nothing of its types.
  const XMLHttpRequest: unknown = createRequire(import.meta.url)("xhr2");
  Object.assign(globalThis, { XMLHttpRequest });
  server = await Server.start(starterModels, "--http", "127.0.0.1:0");
});

after(async () => {
  await server.stop();
});

// Messages are those of another generator, so their classes do not matter.
function methodOf<Request extends DescMessage, Response extends DescMessage>(
  name: string,
  type: string,
  request: Request,
  response: Response,
) {
  return new grpcWeb.MethodDescriptor<MessageShape<Request>, MessageShape<Response>>(
    name,
    type,
    Object as never,
    Object as never,
    (message: MessageShape<Request>) => toBinary(request, message),
    (bytes: Uint8Array) => fromBinary(response, new Uint8Array(bytes)),
  );
}

const listModels = methodOf(
  "/denoised.v1.Models/ListModels",
  grpcWeb.MethodType.UNARY,
  ListModelsRequestSchema,
  ListModelsResponseSchema,
);
const generate = methodOf(
  "/denoised.v1.ImageGeneration/Generate",
  grpcWeb.MethodType.SERVER_STREAMING,
  GenerateRequestSchema,
  GenerateEventSchema,
);

const address = (method: { getName(): string }) =>
  `http://${server.httpAddress}${method.getName()}`;

function eventsOf(client: grpcWeb.GrpcWebClientBase, count: number): Promise<GenerateEvent[]> {
  const request = create(GenerateRequestSchema, {
    model: "models/emoji-32",
    classLabel: 2,
    count,
    sampler: { steps: 3 },
  });
  return new Promise((resolve, reject) => {
    const events: GenerateEvent[] = [];
    const stream = client.serverStreaming(address(generate), request, {}, generate);
    stream.on("data", (event) => events.push(event));
    stream.on("error", reject);
    stream.on("end", () => {
      resolve(events);
    });
  });
}

for (const format of ["text", "binary"]) {
  test(`gRPC-Web in ${format} calls unary methods`, async () => {
    const client = new grpcWeb.GrpcWebClientBase({ format });
    const request = create(ListModelsRequestSchema);
    const { models } = await client.unaryCall(address(listModels), request, {}, listModels);
    assert.deepEqual(
      models.map(({ name }) => name),
      ["models/emoji-32"],
    );
  });

  test(`gRPC-Web in ${format} reads streams to their end or error`, async () => {
    const client = new grpcWeb.GrpcWebClientBase({ format });
    const cases = (await eventsOf(client, 1)).map(({ event }) => event.case);
    assert.equal(cases[0], "accepted");
    assert.deepEqual(cases.slice(-2), ["image", "finished"]);
    await assert.rejects(eventsOf(client, 0), (error: grpcWeb.RpcError) => {
      assert.equal(error.code, grpcWeb.StatusCode.INVALID_ARGUMENT);
      assert.match(error.message, /^count: must be between/);
      return true;
    });
  });
}
