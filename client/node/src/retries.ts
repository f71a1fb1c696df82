// When an attempt is repeated.
import type { Call } from "./call.js";
import { DenoisedError } from "./errors.js";
import type { Settings } from "./options.js";

const firstDelayMs = 200;
const longestDelayMs = 5_000;

// Spread, so that callers who failed together do not come back together.
function backoffMs(failures: number): number {
  const delayMs = Math.min(firstDelayMs * 2 ** (failures - 1), longestDelayMs);
  return delayMs * (0.8 + 0.4 * Math.random());
}

/** Counts the failures of one call since its last event. */
export class Retries {
  #failures = 0;
  #failingSince = 0;
  #hasBegun = false;

  constructor(
    private readonly settings: Settings,
    private readonly call: Call,
  ) {}

  /** The stream has brought something: whatever fails from here on is a new failure. */
  onEvent(): void {
    this.#hasBegun = true;
    this.#failures = 0;
  }

  /**
   * Waits until the next attempt is due. With `orCancelled`, CANCELLED counts as UNAVAILABLE.
   *
   * @throws `error` if the call is not to be repeated.
   */
  async wait(error: unknown, { orCancelled = false } = {}): Promise<void> {
    if (!(error instanceof DenoisedError)) throw error;
    const isLost = error.code === "UNAVAILABLE" || (orCancelled && error.code === "CANCELLED");
    if (!isLost) throw error;
    if (this.#failures++ === 0) this.#failingSince = performance.now();
    const delayMs = error.retryAfterMs ?? backoffMs(this.#failures);
    if (!this.#hasAttemptsLeft(error) || !this.call.outlasts(delayMs)) throw error;
    this.settings.onRetry(error, delayMs);
    await this.call.sleep(delayMs);
  }

  // A network or a server that is away comes back in its own time; one that answers is not asked
  // for ever.
  #hasAttemptsLeft(error: DenoisedError): boolean {
    if (this.#hasBegun && error.connectionLost) {
      return performance.now() - this.#failingSince < this.settings.reconnectTimeoutMs;
    }
    return this.#failures < this.settings.maxAttempts;
  }
}
