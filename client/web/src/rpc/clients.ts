// The services of the server that the page came from, with the Connect protocol in binary.
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { Activity } from "../gen/denoised/v1/activity_pb.ts";
import { Datasets } from "../gen/denoised/v1/datasets_pb.ts";
import { Generations } from "../gen/denoised/v1/generations_pb.ts";
import { ImageGeneration } from "../gen/denoised/v1/image_generation_pb.ts";
import { Models } from "../gen/denoised/v1/models_pb.ts";
import { Training } from "../gen/denoised/v1/training_pb.ts";
import { authorization, isRefused } from "./token.ts";

// Errors of a stream come with its messages, but one that is refused has none.
const showToken: Interceptor = (next) => async (request) => {
  const shown = authorization();
  if (shown) request.header.set("Authorization", shown);
  try {
    const response = await next(request);
    if (!response.stream) isRefused.value = false;
    return response;
  } catch (thrown) {
    const isLatest = shown === authorization();
    if (isLatest && ConnectError.from(thrown).code === Code.Unauthenticated) isRefused.value = true;
    throw thrown;
  }
};

const transport = createConnectTransport({
  baseUrl: location.origin,
  useBinaryFormat: true,
  interceptors: [showToken],
});

/** For calls that look something up: a server that does not answer them is not there. */
export const lookUp = { timeoutMs: 10_000 };

export const activity = createClient(Activity, transport);
export const imageGeneration = createClient(ImageGeneration, transport);
export const generations = createClient(Generations, transport);
export const models = createClient(Models, transport);
export const datasets = createClient(Datasets, transport);
export const training = createClient(Training, transport);
