// The connection to a server: one call at a time, with retries, and errors as DenoisedError.
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { isLoopback } from "./address.js";
import { Call } from "./call.js";
import { DenoisedError, toDenoisedError } from "./errors.js";
import type { CallOptions, Settings } from "./options.js";
import { Retries } from "./retries.js";

/** What happens to a call whose connection breaks before the answer. */
type Repeat = "repeatable" | "once";

/** Opened by the first call, and opened again whenever it breaks. */
export class Connection {
  readonly #sessions: Http2SessionManager;
  readonly #transport: Transport;
  #isClosing = false;
  #isClosed = false;

  constructor(readonly settings: Settings) {
    const { address, tls, maxReceiveBytes } = settings;
    const authorization = authorizationOf(settings);
    const baseUrl = `${tls ? "https" : "http"}://${address}`;
    this.#sessions = new Http2SessionManager(
      baseUrl,
      {
        pingIntervalMs: settings.keepaliveIntervalMs,
        pingTimeoutMs: settings.keepaliveTimeoutMs,
      },
      tls && { ca: tls.rootCertificates, cert: tls.certificate, key: tls.key },
    );
    this.#transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#sessions,
      readMaxBytes: maxReceiveBytes,
      interceptors: [
        (next) => (request) => {
          if (authorization) request.header.set("Authorization", authorization);
          return next(request);
        },
      ],
      acceptCompression: [], // pictures are compressed already
    });
  }

  /** Refuses new calls but parting ones, and ends every other at its next event. */
  beginToClose(): void {
    this.#isClosing = true;
  }

  /** Ends every call, and refuses new ones. */
  close(): void {
    this.#isClosing = this.#isClosed = true;
    this.#sessions.abort();
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
        return await this.#attempt(call, async (timeoutMs) => {
          const [transport, { signal }] = [this.#transport, call];
          const response = await transport.unary(method, signal, timeoutMs, undefined, request);
          return response.message;
        });
      } catch (error) {
        const mayBeDone = error instanceof DenoisedError && error.connectionLost;
        if (repeat === "once" && mayBeDone) throw error;
        await retries.wait(error);
      }
    }
  }

  /** Makes one attempt at a call that is answered by a stream. Leaving the stream cancels the call. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O> & { methodKind: "server_streaming" },
    init: MessageInitShape<I>,
    call: Call,
  ): AsyncGenerator<MessageShape<O>, void> {
    const request = checked(method.input, init);
    return this.stream(method, once(request), call);
  }

  /**
   * Makes one attempt at a call that streams requests, answers or both. What `requests` throws ends
   * the call, and is thrown as it is.
   */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    call: Call,
  ): AsyncGenerator<MessageShape<O>, void> {
    const transport = this.#transport;
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

function authorizationOf({ address, tls, token, tokenOverPlaintext }: Settings): string {
  if (token === "") return "";
  if (tls || isLoopback(address) || tokenOverPlaintext) return `Bearer ${token}`;
  throw new DenoisedError(
    "INVALID_ARGUMENT",
    `the token would be sent to ${address} without encryption, and anybody on the way could use ` +
      "it: set tls, or tokenOverPlaintext if the network is yours",
  );
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
