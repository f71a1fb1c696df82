// One call of a caller's, however many attempts it takes.
import { setTimeout as sleep } from "node:timers/promises";

import { DenoisedError } from "./errors.js";
import type { CallOptions } from "./options.js";

// gRPC sends a deadline as at most eight digits.
const longestTimeoutMs = 99_999_999;

export class Call {
  readonly signal: AbortSignal | undefined;
  readonly #end: number;

  /** Begins to count now. Without a timeout the call may take `defaultTimeoutMs`. */
  constructor(
    options: CallOptions = {},
    defaultTimeoutMs = Infinity,
    /** Whether it may be made while its client closes. */
    readonly isParting = false,
  ) {
    this.signal = options.signal;
    this.#end = performance.now() + (options.timeoutMs ?? defaultTimeoutMs);
  }

  /** A call with which a client leaves. */
  static parting(timeoutMs: number): Call {
    return new Call({ timeoutMs }, Infinity, true);
  }

  /** What is left for the next attempt; undefined for any time. */
  timeoutMs(): number | undefined {
    const left = this.#end - performance.now();
    return left > longestTimeoutMs ? undefined : Math.ceil(left);
  }

  /** @throws DenoisedError if the call is over: CANCELLED or DEADLINE_EXCEEDED. */
  throwIfOver(address: string): void {
    if (this.signal?.aborted) {
      throw new DenoisedError("CANCELLED", "the call was cancelled by its signal", {
        cause: this.signal.reason,
      });
    }
    if (performance.now() >= this.#end) {
      const message = `the deadline passed before ${address} had answered in full`;
      throw new DenoisedError("DEADLINE_EXCEEDED", message);
    }
  }

  /** Whether the call will still be on after this long. */
  outlasts(delayMs: number): boolean {
    return performance.now() + delayMs < this.#end;
  }

  /** Ends early if the signal is aborted. */
  async sleep(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { signal: this.signal }).catch(() => undefined);
  }
}
