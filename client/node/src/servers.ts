// The servers behind one name, asked in turn for what only one of them has.
import { ADDRCONFIG, type LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";

import { hostOf, isLoopback } from "./address.js";
import type { Call } from "./call.js";
import { Channel } from "./channel.js";
import { DenoisedError, toDenoisedError } from "./errors.js";
import type { Settings } from "./options.js";
import * as proto from "./proto.js";

// For the question to one server: one that does not answer must not use up the time of the call.
const askTimeoutMs = 2_000;

export class Servers {
  readonly #open = new Set<Channel>();

  constructor(private readonly settings: Settings) {}

  /**
   * The server that has a generation, after another one has answered that it has not. The caller
   * releases it.
   *
   * @throws `missing` if no server has it; DenoisedError UNAVAILABLE if a server that may have it
   * did not answer.
   */
  async holderOf(name: string, missing: DenoisedError, call: Call): Promise<Channel> {
    let silent: DenoisedError | undefined;
    for (const server of await this.#resolve()) {
      const channel = new Channel(this.settings, server);
      this.#open.add(channel);
      const answer = await this.#ask(channel, name, call);
      if (answer === "has it") return channel;
      this.release(channel);
      if (answer.code !== "NOT_FOUND") silent = answer;
    }
    if (silent === undefined) throw missing;
    const { address } = this.settings;
    const message =
      `no server behind ${address} that could be asked has ${name}; one could not be asked: ` +
      silent.message;
    throw new DenoisedError("UNAVAILABLE", message, { connectionLost: true, cause: missing });
  }

  release(channel: Channel): void {
    this.#open.delete(channel);
    channel.close();
  }

  /** Ends the calls to single servers. */
  close(): void {
    for (const channel of this.#open) this.release(channel);
  }

  async #ask(channel: Channel, name: string, call: Call): Promise<"has it" | DenoisedError> {
    const method = proto.Generations.method.getGeneration;
    const timeoutMs = Math.min(askTimeoutMs, call.timeoutMs() ?? Infinity);
    try {
      await channel.transport.unary(method, call.signal, timeoutMs, undefined, { name });
      return "has it";
    } catch (error) {
      return toDenoisedError(error, this.settings.address);
    }
  }

  // One on this machine is the only one of its name.
  async #resolve(): Promise<LookupAddress[]> {
    const { address } = this.settings;
    if (isLoopback(address)) return [];
    const options = { all: true, hints: ADDRCONFIG } as const;
    const found = await lookup(hostOf(address), options).catch(() => []);
    return found.length > 1 ? found : [];
  }
}
