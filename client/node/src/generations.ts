// Generations: start one, come back to it, look at it, stop it.
import { randomUUID } from "node:crypto";

import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";

import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import { DenoisedError } from "./errors.js";
import { type FindLabel, type GenerateOptions, toGenerateRequest } from "./generate-options.js";
import { generationName } from "./names.js";
import type { CallOptions } from "./options.js";
import { allPages } from "./pages.js";
import type { Event, Plain } from "./plain.js";
import * as proto from "./proto.js";
import { resumable } from "./resumable.js";
import { toEvent, toPlain } from "./to-plain.js";

/** What happened to a generation: accepted, queued, started, progress, frame, image, finished. */
export type GenerateEvent = Exclude<Event<proto.GenerateEvent>, { type: "handover" }>;
/** An image as `GenerateEvent` brings it. */
export type ImageEvent = Extract<GenerateEvent, { type: "image" }>;
export type Generation = Plain<proto.Generation>;

export interface WatchOptions extends CallOptions {
  /** The number of the last event that the caller has. Absent: from the beginning. */
  resumeAfter?: number;
}

// How long a caller who leaves waits until the server has heard of it.
const cancelTimeoutMs = 2_000;

/** See Client.generate. */
export async function* generate(
  connection: Connection,
  options: GenerateOptions | proto.GenerateRequest,
  callOptions: CallOptions,
  findLabel: FindLabel,
): AsyncGenerator<GenerateEvent, void> {
  const call = new Call(callOptions);
  const wanted = isMessage(options, proto.GenerateRequestSchema)
    ? options
    : await toGenerateRequest(options, findLabel);
  const request = wanted.handover.length > 0 ? wanted : withOwner(wanted);
  const isOwned = wanted.onDisconnect === proto.OnDisconnect.UNSPECIFIED;
  let state: "unknown" | "accepted" | "over" = "unknown";
  try {
    for await (const message of events(connection, request, call)) {
      const isAcceptedAgain = message.event.case === "accepted" && state === "accepted";
      state = isLast(message) ? "over" : "accepted";
      if (isAcceptedAgain) continue; // by the server that continues the generation
      const event = toPublicEvent(message);
      if (event) yield event;
    }
  } catch (error) {
    if (state === "unknown" && wasRefused(error)) state = "over";
    throw error;
  } finally {
    if (isOwned && state !== "over") await cancelQuietly(connection, request.requestId);
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
    canResume: ({ event }) => survives || event.case === "handover",
    isHandover: ({ event }) => event.case === "handover",
    isLast,
  });
}

// Undefined for a handover, which is between the client and the servers.
function toPublicEvent(message: proto.GenerateEvent): GenerateEvent | undefined {
  if (message.event.case === "handover") return undefined;
  return toEvent(proto.GenerateEventSchema, message) as GenerateEvent | undefined;
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

// The caller has left and hears of no errors: the generation may have ended, or the server.
async function cancelQuietly(connection: Connection, id: string): Promise<void> {
  const method = proto.Generations.method.cancelGeneration;
  const call = new Call({ timeoutMs: cancelTimeoutMs });
  await connection.unary(method, { name: generationName(id) }, call, "once").catch(() => undefined);
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
}
