// Generations: start one, come back to it, look at it, stop it.
import { randomUUID } from "node:crypto";

import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";

import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import { DenoisedError } from "./errors.js";
import { type FindLabel, type GenerateOptions, toGenerateRequest } from "./generate-options.js";
import { generationName } from "./names.js";
import type { CallOptions } from "./options.js";
import type { OwnedGenerations } from "./owned-generations.js";
import { allPages } from "./pages.js";
import type { Event, Plain } from "./plain.js";
import * as proto from "./proto.js";
import { resumable } from "./resumable.js";
import { toEvent, toPlain } from "./to-plain.js";

/**
 * What happened to a generation: accepted, queued, started, progress, frame, image, and at the end
 * finished or, if somebody has paused it, handover.
 */
export type GenerateEvent = Event<proto.GenerateEvent>;
/** An image as `GenerateEvent` brings it. */
export type ImageEvent = Extract<GenerateEvent, { type: "image" }>;
export type Generation = Plain<proto.Generation>;
/** A generation that was paused, and the token for Client.resume. */
export type PausedGeneration = Plain<proto.PauseGenerationResponse> & { generation: Generation };

export interface WatchOptions extends CallOptions {
  /** The number of the last event that the caller has. Absent: from the beginning. */
  resumeAfter?: number;
}

/** See Client.generate. */
export async function* generate(
  connection: Connection,
  owned: OwnedGenerations,
  options: GenerateOptions | proto.GenerateRequest,
  callOptions: CallOptions,
  findLabel: FindLabel,
): AsyncGenerator<GenerateEvent, void> {
  const call = new Call(callOptions);
  const wanted = isMessage(options, proto.GenerateRequestSchema)
    ? options
    : await toGenerateRequest(options, findLabel);
  const isNew = wanted.handover.length === 0;
  const request = isNew ? withOwner(wanted) : wanted;
  const id = request.requestId;
  if (isNew && wanted.onDisconnect === proto.OnDisconnect.UNSPECIFIED) owned.add(id);
  let wasAccepted = false;
  try {
    for await (const message of events(connection, request, call)) {
      const isAcceptedAgain = message.event.case === "accepted" && wasAccepted;
      wasAccepted = true;
      if (isLast(message) || isPause(message)) owned.release(id);
      if (isAcceptedAgain) continue; // by the server that continues the generation
      const event = toPublicEvent(message);
      if (event) yield event;
    }
  } catch (error) {
    if (!wasAccepted && wasRefused(error)) owned.release(id);
    throw error;
  } finally {
    await owned.leave(id);
  }
}

// A generation is its caller's, and not its connection's, unless the request says so: it continues
// under its name while the connection is broken, and this client ends it when its caller leaves.
function withOwner(wanted: proto.GenerateRequest): proto.GenerateRequest {
  const { CANCEL, DETACH } = proto.OnDisconnect;
  const accepting = { ...wanted, acceptHandover: true };
  if (wanted.onDisconnect === CANCEL) return create(proto.GenerateRequestSchema, accepting);
  const requestId = wanted.requestId || randomUUID();
  return create(proto.GenerateRequestSchema, { ...accepting, requestId, onDisconnect: DETACH });
}

// The events of the generation that this request starts or joins.
function events(
  connection: Connection,
  request: proto.GenerateRequest,
  call: Call,
): AsyncIterable<proto.GenerateEvent> {
  const start = (init: MessageInitShape<typeof proto.GenerateRequestSchema>) =>
    connection.serverStream(proto.ImageGeneration.method.generate, init, call);
  const survives = request.onDisconnect === proto.OnDisconnect.DETACH;
  return resumable(connection, call, {
    begin: () => start(request),
    resume: ({ sequence, event }) =>
      event.case === "handover"
        ? start({ handover: event.value.token })
        : watch(connection, generationName(request.requestId), sequence, call),
    canResume: (message) => isMove(message) || (survives && !isPause(message)),
    isHandover: isMove,
    isLast,
  });
}

// Undefined for a handover to another server, which is between the client and the servers.
function toPublicEvent(message: proto.GenerateEvent): GenerateEvent | undefined {
  return isMove(message) ? undefined : toEvent(proto.GenerateEventSchema, message);
}

// Whether another server continues the generation now.
function isMove({ event }: proto.GenerateEvent): boolean {
  return event.case === "handover" && !event.value.paused;
}

// Whether the generation was paused: then only its token continues it.
function isPause({ event }: proto.GenerateEvent): boolean {
  return event.case === "handover" && event.value.paused;
}

function watch(
  connection: Connection,
  name: string,
  resumeAfter: bigint | undefined,
  call: Call,
): AsyncIterable<proto.GenerateEvent> {
  const method = proto.Generations.method.watchGeneration;
  return connection.serverStream(method, { name, resumeAfter }, call);
}

function isLast({ event }: proto.GenerateEvent): boolean {
  return event.case === "finished";
}

// Whether the server answered that it starts no generation.
function wasRefused(error: unknown): boolean {
  if (!(error instanceof DenoisedError) || error.connectionLost) return false;
  return error.code !== "CANCELLED" && error.code !== "DEADLINE_EXCEEDED";
}

/** Generations that run, and those whose results are kept. Names are "zoo" or "generations/zoo". */
export class Generations {
  constructor(private readonly connection: Connection) {}

  /**
   * Reads a generation beside its other readers: the events after `resumeAfter`, or all that are
   * kept, then what happens until it ends. Survives broken connections. Leaving the loop leaves the
   * generation alone, unless it was started with `onDisconnect: "cancel"` and nobody else reads it.
   *
   * @throws DenoisedError NOT_FOUND if there is no such generation (`reason` says whether there was
   * one); INVALID_ARGUMENT if `resumeAfter` is beyond its last event; the generation's own error.
   */
  async *watch(name: string, options: WatchOptions = {}): AsyncGenerator<GenerateEvent, void> {
    const call = new Call(options);
    const { resumeAfter } = options;
    const follow = (after: bigint | undefined) =>
      watch(this.connection, generationName(name), after, call);
    const messages = resumable(this.connection, call, {
      begin: () => follow(resumeAfter === undefined ? undefined : BigInt(resumeAfter)),
      resume: ({ sequence }) => follow(sequence),
      isLast,
    });
    for await (const message of messages) {
      const event = toPublicEvent(message);
      if (event) yield event;
    }
  }

  /** @throws DenoisedError NOT_FOUND if there is no such generation. */
  async get(name: string, options?: CallOptions): Promise<Generation> {
    const method = proto.Generations.method.getGeneration;
    const call = this.connection.brief(options);
    const message = await this.connection.unary(method, { name: generationName(name) }, call);
    return toPlain(proto.GenerationSchema, message);
  }

  /** The newest first, without `accepted.timesteps`. */
  async list(options?: CallOptions): Promise<Generation[]> {
    const method = proto.Generations.method.listGenerations;
    const call = this.connection.brief(options);
    const messages = await allPages(
      (pageToken) => this.connection.unary(method, { pageToken }, call),
      (page) => page.generations,
    );
    return messages.map((message) => toPlain(proto.GenerationSchema, message));
  }

  /**
   * Stops a generation before its next evaluation. Its readers get CANCELLED.
   *
   * @throws DenoisedError NOT_FOUND, or FAILED_PRECONDITION if it has ended.
   */
  async cancel(name: string, options?: CallOptions): Promise<Generation> {
    const method = proto.Generations.method.cancelGeneration;
    const call = this.connection.brief(options);
    const request = { name: generationName(name) };
    const message = await this.connection.unary(method, request, call, "once");
    return toPlain(proto.GenerationSchema, message);
  }

  /**
   * Takes a generation off the device, before its next evaluation, and returns the `token` with
   * which Client.resume continues it until `expireTime`, also after a restart of the server. Its
   * readers get the event `handover`, then ABORTED. Pausing it again returns a token again, for as
   * long as it is kept.
   *
   * @throws DenoisedError NOT_FOUND, or FAILED_PRECONDITION if it has ended or cannot be paused.
   */
  async pause(name: string, options?: CallOptions): Promise<PausedGeneration> {
    const method = proto.Generations.method.pauseGeneration;
    const request = { name: generationName(name) };
    const message = await this.connection.unary(method, request, new Call(options));
    return toPlain(proto.PauseGenerationResponseSchema, message) as PausedGeneration;
  }
}
