// The client of a denoised server.
import { create } from "@bufbuild/protobuf";

import { Call } from "./call.js";
import { Connection } from "./connection.js";
import { Datasets } from "./datasets.js";
import { Health, HealthCheckResponse_ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import type { GenerateOptions, SamplerChoice } from "./generate-options.js";
import { generate, type GenerateEvent, Generations, type ImageEvent } from "./generations.js";
import { labelOf, Models } from "./models.js";
import { modelName } from "./names.js";
import { type CallOptions, type ClientOptions, withDefaults } from "./options.js";
import { OwnedGenerations } from "./owned-generations.js";
import type { Event, Init, Plain } from "./plain.js";
import * as proto from "./proto.js";
import { resumable } from "./resumable.js";
import { toMessage } from "./to-message.js";
import { toEvent, toPlain } from "./to-plain.js";
import { Training } from "./training.js";

/** What happened on the way into noise: accepted, frame, finished. */
export type DiffuseEvent = Event<proto.DiffuseEvent>;
export type SamplerPlan = Plain<proto.SamplerPlan>;
export type ActivitySnapshot = Plain<proto.ActivitySnapshot>;

export interface DiffuseOptions extends Init<proto.DiffuseRequest> {
  /** "emoji-32", or "models/emoji-32". */
  model: string;
}

export interface PlanOptions extends SamplerChoice {
  /** "emoji-32", or "models/emoji-32". */
  model: string;
}

/**
 * A client of one server. It opens a connection with the first call, and again whenever it breaks;
 * any number of calls share it. An idle connection does not keep Node.js running.
 *
 * A call that fails throws a DenoisedError. What a caller's own callbacks and iterators throw is
 * passed on.
 */
export class Client {
  readonly generations: Generations;
  readonly models: Models;
  readonly datasets: Datasets;
  readonly training: Training;
  readonly #connection: Connection;
  readonly #owned: OwnedGenerations;
  #closing: Promise<void> | undefined;

  constructor(options: ClientOptions = {}) {
    this.#connection = new Connection(withDefaults(options));
    this.#owned = new OwnedGenerations(this.#connection);
    this.generations = new Generations(this.#connection);
    this.models = new Models(this.#connection);
    this.datasets = new Datasets(this.#connection);
    this.training = new Training(this.#connection);
  }

  /**
   * Starts a generation when the loop over its events begins, and tells what happens to it: first
   * `accepted` with the request as the server resolved it, at the end `finished`. Images are never
   * left out; a slow loop gets the latest frames.
   *
   * The generation survives broken connections: the loop continues after the last event. It is
   * cancelled when the loop is left early, the signal is aborted or the time is up; leaving waits
   * until the server has heard of it, for at most 2 seconds. With `onDisconnect: "detach"` it
   * continues then; with "cancel" it ends with its connection.
   *
   * @throws DenoisedError INVALID_ARGUMENT with every wrong field; NOT_FOUND if there is no such
   * model; UNAVAILABLE if the server is full or cannot be reached; CANCELLED, also if someone else
   * cancels the generation; ABORTED if someone pauses it; the others that ImageGeneration.Generate names.
   */
  generate(
    request: GenerateOptions | proto.GenerateRequest,
    options: CallOptions = {},
  ): AsyncGenerator<GenerateEvent, void> {
    const findLabel = async (model: string, className: string) =>
      labelOf(await this.models.get(model, { signal: options.signal }), className);
    return generate(this.#connection, this.#owned, request, options, findLabel);
  }

  /**
   * Continues a generation that was paused: what happens to it from there on. Images that were
   * finished before are not made, and not sent, again. Leaving the loop means what the request of
   * the generation says (`onDisconnect`).
   *
   * @throws DenoisedError INVALID_ARGUMENT if the token is damaged, of another tenant or of another
   * deployment; FAILED_PRECONDITION if it has expired, or the model has changed; those of
   * `generate`.
   */
  resume(token: Uint8Array, options: CallOptions = {}): AsyncGenerator<GenerateEvent, void> {
    return this.generate(create(proto.GenerateRequestSchema, { handover: token }), options);
  }

  /** The images alone, by index. Errors are those of `generate`. */
  async generateImages(
    request: GenerateOptions | proto.GenerateRequest,
    options: CallOptions = {},
  ): Promise<ImageEvent[]> {
    const images: ImageEvent[] = [];
    for await (const event of this.generate(request, options)) {
      if (event.type === "image") images.push(event);
    }
    return images.sort((a, b) => a.imageIndex - b.imageIndex);
  }

  /**
   * Turns pictures (PNG, JPEG or WebP) into noise as the model's training did: `accepted` with the
   * levels of noise, then a frame of every picture at each level, then `finished`.
   *
   * @throws DenoisedError INVALID_ARGUMENT with every wrong field; NOT_FOUND if there is no such
   * model.
   */
  async *diffuse(
    request: DiffuseOptions,
    options: CallOptions = {},
  ): AsyncGenerator<DiffuseEvent, void> {
    const call = new Call(options);
    const message = toMessage(proto.DiffuseRequestSchema, {
      ...request,
      model: request.model && modelName(request.model),
    });
    const method = proto.ImageGeneration.method.diffuse;
    const messages = resumable(this.#connection, call, {
      begin: () => this.#connection.serverStream(method, message, call),
    });
    for await (const next of messages) {
      const event = toEvent(proto.DiffuseEventSchema, next);
      if (event) yield event;
    }
  }

  /**
   * Every number that a generation with this sampler would use.
   *
   * @throws DenoisedError INVALID_ARGUMENT with every wrong field; NOT_FOUND if there is no such
   * model.
   */
  async planSampler(request: PlanOptions, options?: CallOptions): Promise<SamplerPlan> {
    const { model, ...sampler } = request;
    const message = toMessage(proto.PlanSamplerRequestSchema, {
      model: model && modelName(model),
      sampler,
    });
    const method = proto.ImageGeneration.method.planSampler;
    const plan = await this.#connection.unary(method, message, this.#connection.brief(options));
    return toPlain(proto.SamplerPlanSchema, plan);
  }

  /**
   * What the server is doing now, and again whenever that has changed. Continues when the connection
   * breaks.
   *
   * @throws DenoisedError INVALID_ARGUMENT unless `intervalMs`, the least time between two snapshots,
   * is between 50 and 60,000.
   */
  async *watchActivity(
    options: CallOptions & { intervalMs?: number } = {},
  ): AsyncGenerator<ActivitySnapshot, void> {
    const call = new Call(options);
    const request = toMessage(proto.WatchActivityRequestSchema, { intervalMs: options.intervalMs });
    const method = proto.Activity.method.watchActivity;
    const begin = () => this.#connection.serverStream(method, request, call);
    for await (const snapshot of resumable(this.#connection, call, { begin, resume: begin })) {
      yield toPlain(proto.ActivitySnapshotSchema, snapshot);
    }
  }

  /**
   * Whether the server, or one of its services such as "denoised.v1.ImageGeneration", is ready.
   *
   * @throws DenoisedError NOT_FOUND if the server has no such service; UNAVAILABLE if it cannot be
   * reached.
   */
  async checkHealth(
    service = "",
    options?: CallOptions,
  ): Promise<"serving" | "not_serving" | "unknown"> {
    const call = this.#connection.brief(options);
    const { status } = await this.#connection.unary(Health.method.check, { service }, call, "once");
    if (status === HealthCheckResponse_ServingStatus.SERVING) return "serving";
    return status === HealthCheckResponse_ServingStatus.NOT_SERVING ? "not_serving" : "unknown";
  }

  /**
   * Ends every call of this client with CANCELLED, and refuses new ones from now on. Generations
   * that leaving their loops would cancel are cancelled first; the promise is fulfilled once the
   * server has heard of it, after at most 2 seconds, and the connection is closed.
   */
  close(): Promise<void> {
    this.#closing ??= this.#leaveAndClose();
    return this.#closing;
  }

  async #leaveAndClose(): Promise<void> {
    this.#connection.beginToClose();
    await this.#owned.leaveAll();
    this.#connection.close();
  }
}
