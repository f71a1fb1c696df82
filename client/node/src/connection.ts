// The connection to a server: one call at a time, with retries, and errors as DenoisedError.
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

import { Call } from "./call.js";
import { Channel } from "./channel.js";
import { DenoisedError, toDenoisedError } from "./errors.js";
import type { CallOptions, Settings } from "./options.js";
import * as proto from "./proto.js";
import { Retries } from "./retries.js";
import { Servers } from "./servers.js";

/** What happens to a call whose connection breaks before the answer. */
type Repeat = "repeatable" | "once";

/** To a server, or to one of the servers behind a name. */
export class Connection {
  readonly #channel: Channel;
  readonly #servers: Servers;
  #isClosing = false;
  #isClosed = false;

  constructor(readonly settings: Settings) {
    this.#channel = new Channel(settings);
    this.#servers = new Servers(settings);
  }

  /** Refuses new calls but parting ones, and ends every other at its next event. */
  beginToClose(): void {
    this.#isClosing = true;
  }

  /** Ends every call, and refuses new ones. */
  close(): void {
    this.#isClosing = this.#isClosed = true;
    this.#servers.close();
    this.#channel.close();
  }

  /** Whether the caller has ended the call, by its signal or by closing the client. */
  isOver(call: Call): boolean {
    return this.#isClosing || (call.signal?.aborted ?? false);
  }

  /** A call that is answered at once. */
  brief(options?: CallOptions): Call {
    return new Call(options, this.settings.unaryTimeoutMs);
  }

  retries(call: Call): Retries {
    return new Retries(this.settings, call);
  }

  /**
   * Calls a method with one answer. UNAVAILABLE is retried; a connection that breaks in between is
   * retried only if the call can be repeated without doing it twice.
   */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    call: Call,
    repeat: Repeat = "repeatable",
  ): Promise<MessageShape<O>> {
    const request = checked(method.input, init);
    const retries = this.retries(call);
    for (;;) {
      try {
        return await this.#unary(method, request, call);
      } catch (error) {
        const mayBeDone = error instanceof DenoisedError && error.connectionLost;
        if (repeat === "once" && mayBeDone) throw error;
        await retries.wait(error);
      }
    }
  }

  // One attempt, at the server that the call is about.
  async #unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    call: Call,
  ): Promise<MessageShape<O>> {
    const ask = (channel: Channel) =>
      this.#attempt(call, async (timeoutMs) => {
        const { transport } = channel;
        const { signal } = call;
        return (await transport.unary(method, signal, timeoutMs, undefined, request)).message;
      });
    try {
      return await ask(this.#channel);
    } catch (error) {
      const holder = await this.#holder(method, request, call, error);
      try {
        return await ask(holder);
      } finally {
        this.#servers.release(holder);
      }
    }
  }

  // The server behind the name that has the generation of a call, where another one has answered
  // that it has not. Throws `error` if there is none.
  #holder(method: DescMethod, request: Message, call: Call, error: unknown): Promise<Channel> {
    const isMissing = error instanceof DenoisedError && error.code === "NOT_FOUND";
    const name = isMissing ? generationOf(method, request) : undefined;
    if (!isMissing || name === undefined) throw error;
    return this.#servers.holderOf(name, error, call);
  }

  /**
   * Makes one attempt at a call that is answered by a stream, at the server that it is about.
   * Leaving the stream cancels the call.
   */
  async *serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O> & { methodKind: "server_streaming" },
    init: MessageInitShape<I>,
    call: Call,
  ): AsyncGenerator<MessageShape<O>, void> {
    const request = checked(method.input, init);
    let hasBegun = false;
    let holder: Channel;
    try {
      for await (const message of this.#stream(this.#channel, method, once(request), call)) {
        hasBegun = true;
        yield message;
      }
      return;
    } catch (error) {
      if (hasBegun) throw error;
      holder = await this.#holder(method, request, call, error);
    }
    try {
      yield* this.#stream(holder, method, once(request), call);
    } finally {
      this.#servers.release(holder);
    }
  }

  /**
   * Makes one attempt at a call that streams requests, answers or both. What `requests` throws ends
   * the call, and is thrown as it is.
   */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    call: Call,
  ): AsyncGenerator<MessageShape<O>, void> {
    return this.#stream(this.#channel, method, requests, call);
  }

  async *#stream<I extends DescMessage, O extends DescMessage>(
    { transport }: Channel,
    method: DescMethodStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    call: Call,
  ): AsyncGenerator<MessageShape<O>, void> {
    const left = new AbortController();
    const signal = AbortSignal.any([left.signal, ...(call.signal ? [call.signal] : [])]);
    const failures: Error[] = [];
    const input = remembering(requests, failures);
    let messages: AsyncIterator<MessageShape<O>> | undefined;
    try {
      messages = await this.#attempt(call, async (timeoutMs) => {
        const response = await transport.stream(method, signal, timeoutMs, undefined, input);
        return response.message[Symbol.asyncIterator]();
      });
      yield* this.#items(messages, call);
    } catch (error) {
      throw failures[0] ?? error;
    } finally {
      left.abort();
      await drain(messages);
    }
  }

  // Not a loop over the iterator itself, so that #attempt sees what it throws.
  async *#items<T>(messages: AsyncIterator<T>, call: Call): AsyncGenerator<T, void> {
    for (;;) {
      const next = await this.#attempt(call, () => messages.next());
      if (next.done) return;
      yield next.value;
    }
  }

  /** Runs a part of a call, and says what went wrong as a DenoisedError. */
  async #attempt<T>(call: Call, run: (timeoutMs: number | undefined) => Promise<T>): Promise<T> {
    const { address } = this.settings;
    this.#throwIfClosed(call);
    call.throwIfOver(address);
    try {
      return await run(call.timeoutMs());
    } catch (error) {
      this.#throwIfClosed(call);
      const failure = toDenoisedError(error, address);
      // Whatever the transport says of a call that it ended itself.
      if (failure.connectionLost || failure.code === "DEADLINE_EXCEEDED") call.throwIfOver(address);
      throw failure;
    }
  }

  #throwIfClosed(call: Call): void {
    if (!this.#isClosed && (!this.#isClosing || call.isParting)) return;
    throw new DenoisedError("CANCELLED", "the client is closed; make a new one");
  }
}

// The generation that a call is about, which one server has.
function generationOf(method: DescMethod, request: Message): string | undefined {
  if (method.parent.typeName !== proto.Generations.typeName || !("name" in request))
    return undefined;
  return request.name as string;
}

// Here, because the transport does not tell a request that cannot be sent from a broken connection.
function checked<Schema extends DescMessage>(
  schema: Schema,
  init: MessageInitShape<Schema>,
): MessageShape<Schema> {
  const message = create(schema, init);
  try {
    toBinary(schema, message);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DenoisedError("INVALID_ARGUMENT", `the request is invalid: ${reason}`, {
      cause: error,
    });
  }
  return message;
}

// Reads what is left of a call that has been aborted: the transport stops its timer, which keeps
// Node.js running, only when its reader has heard of the end.
async function drain(messages: AsyncIterator<unknown> | undefined): Promise<void> {
  try {
    while (messages && !(await messages.next()).done);
  } catch {
    return; // the call was aborted, as the reader knows
  }
}

// The transport reports what its input throws as a broken connection.
async function* remembering<T>(
  items: AsyncIterable<T>,
  failures: Error[],
): AsyncGenerator<T, void> {
  try {
    yield* items;
  } catch (error) {
    failures.push(error as Error);
    throw error;
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- the transport takes async iterables
async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
