// Forwards every call that a page makes with the Connect protocol to a gRPC server. For development
// and tests: a server that serves the page itself answers these calls without it.
import type { DescService } from "@bufbuild/protobuf";
import {
  type CallOptions,
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  type HandlerContext,
} from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import type { Connect, Plugin } from "vite";
import { Activity } from "../src/gen/denoised/v1/activity_pb.ts";
import { Datasets } from "../src/gen/denoised/v1/datasets_pb.ts";
import { Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import { ImageGeneration } from "../src/gen/denoised/v1/image_generation_pb.ts";
import { Models } from "../src/gen/denoised/v1/models_pb.ts";
import { Training } from "../src/gen/denoised/v1/training_pb.ts";

const services: DescService[] = [
  Activity,
  Datasets,
  Generations,
  ImageGeneration,
  Models,
  Training,
];

/** A Vite plugin that forwards calls to the gRPC server at `address`, "HOST:PORT". */
export function bridge(address: string): Plugin {
  const middleware = forwardCalls(address);
  return {
    name: "denoised-bridge",
    configureServer: (server) => void server.middlewares.use(middleware),
    configurePreviewServer: (server) => void server.middlewares.use(middleware),
  };
}

function forwardCalls(address: string): Connect.NextHandleFunction {
  const transport = createGrpcTransport({ baseUrl: `http://${address}` });
  const routes = (router: ConnectRouter) => {
    for (const service of services) {
      const client = createClient(service, transport) as Record<string, unknown>;
      for (const method of service.methods) {
        const call = client[method.localName];
        const streams =
          method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
        const forward = streams
          ? forwardStream(call as CallStream)
          : forwardUnary(call as CallUnary);
        router.rpc(method, forward as never);
      }
    }
  };
  const adapter = connectNodeAdapter({ routes, grpc: false, grpcWeb: false });
  return (request, response, next) => {
    const path = request.url ?? "";
    if (services.some((service) => path.startsWith(`/${service.typeName}/`)))
      adapter(request, response);
    else next();
  };
}

type CallUnary = (input: unknown, options: CallOptions) => Promise<unknown>;
type CallStream = (input: unknown, options: CallOptions) => AsyncIterable<unknown>;

const forwardUnary = (call: CallUnary) => (input: unknown, context: HandlerContext) =>
  call(input, optionsOf(context)).catch((thrown: unknown) => {
    throw errorForPage(thrown);
  });

const forwardStream = (call: CallStream) =>
  async function* (input: unknown, context: HandlerContext) {
    try {
      yield* call(input, optionsOf(context));
    } catch (thrown) {
      throw errorForPage(thrown);
    }
  };

const optionsOf = (context: HandlerContext): CallOptions => ({
  signal: context.signal,
  timeoutMs: context.timeoutMs(),
});

// Without the headers of the gRPC answer, whose content type is not the page's. The server's own
// errors have details; without any, the connection to it is what has failed.
function errorForPage(thrown: unknown): ConnectError {
  const { rawMessage, code, details } = ConnectError.from(thrown);
  const ownCodes = [Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown];
  const connectionFailed = details.length === 0 && ownCodes.includes(code);
  return Object.assign(new ConnectError(rawMessage, connectionFailed ? Code.Unavailable : code), {
    details,
  });
}
