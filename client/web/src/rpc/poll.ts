// Asking the server again and again, while somebody looks at the page.
import { backoffMs, isAborted, sleep } from "./retry.ts";

const hiddenMs = 3_600_000;

export class Poll {
  readonly #ask: () => Promise<boolean>;
  readonly #pauseMs: () => number;
  #wake = new AbortController();

  /** `ask` tells whether the server has answered; `pauseMs` is the time until it is asked again. */
  constructor(ask: () => Promise<boolean>, pauseMs: () => number) {
    this.#ask = ask;
    this.#pauseMs = pauseMs;
  }

  /** Asks the server now instead of at the next turn. */
  readonly refresh = (): void => this.#wake.abort();

  /** Asks until `leaving` aborts. */
  async follow(leaving: AbortSignal): Promise<void> {
    document.addEventListener("visibilitychange", this.refresh, { signal: leaving });
    leaving.addEventListener("abort", this.refresh);
    for (let failures = 0; !isAborted(leaving);) {
      if (!document.hidden) failures = (await this.#ask()) ? 0 : failures + 1;
      await sleep(this.#pause(failures), this.#wake.signal);
      this.#wake = new AbortController();
    }
  }

  #pause(failures: number): number {
    if (document.hidden) return hiddenMs;
    return failures > 0 ? backoffMs(failures - 1) : this.#pauseMs();
  }
}
