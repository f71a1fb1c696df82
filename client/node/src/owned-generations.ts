// Generations that end when their caller leaves.
import { Call } from "./call.js";
import type { Connection } from "./connection.js";
import { generationName } from "./names.js";
import * as proto from "./proto.js";

// How long a caller who leaves waits until the server has heard of it.
const cancelTimeoutMs = 2_000;

/** Those of one client that may be running. */
export class OwnedGenerations {
  readonly #ids = new Set<string>();

  constructor(private readonly connection: Connection) {}

  add(id: string): void {
    this.#ids.add(id);
  }

  /** The generation has ended, or never began: there is nothing to cancel. */
  release(id: string): void {
    this.#ids.delete(id);
  }

  /**
   * Cancels a generation unless it was released. The caller has left and hears of no errors: the
   * generation may have ended, or the server.
   */
  async leave(id: string): Promise<void> {
    if (!this.#ids.delete(id)) return;
    const method = proto.Generations.method.cancelGeneration;
    const call = Call.parting(cancelTimeoutMs);
    await this.connection
      .unary(method, { name: generationName(id) }, call, "once")
      .catch(() => undefined);
  }

  async leaveAll(): Promise<void> {
    await Promise.all([...this.#ids].map((id) => this.leave(id)));
  }
}
