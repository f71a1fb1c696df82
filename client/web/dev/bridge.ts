// Forwards every call that a page makes with the Connect protocol to a gRPC server. For development
// and tests: a server that serves the page itself answers these calls without it.
import type { DescService } from "@bufbuild/protobuf";
import { createClient, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import type { Connect, Plugin } from "vite";
import { Datasets } from "../src/gen/denoised/v1/datasets_pb.ts";
import { Generations } from "../src/gen/denoised/v1/generations_pb.ts";
import { ImageGeneration } from "../src/gen/denoised/v1/image_generation_pb.ts";
import { Models } from "../src/gen/denoised/v1/models_pb.ts";
import { Training } from "../src/gen/denoised/v1/training_pb.ts";

const services: DescService[] = [Datasets, Generations, ImageGeneration, Models, Training];

type Call = (input: unknown, options: { signal: AbortSignal; timeoutMs?: number }) => unknown;

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
      const client = createClient(service, transport) as unknown as Record<string, Call>;
      for (const method of service.methods) {
        const call = client[method.localName];
        router.rpc(method, ((input: unknown, context: { signal: AbortSignal; timeoutMs(): number | undefined }) =>
          call?.(input, { signal: context.signal, timeoutMs: context.timeoutMs() })) as never);
      }
    }
  };
  const adapter = connectNodeAdapter({ routes, grpc: false, grpcWeb: false });
  return (request, response, next) => {
    const path = request.url ?? "";
    if (services.some((service) => path.startsWith(`/${service.typeName}/`))) adapter(request, response);
    else next();
  };
}
