// Waiting before another try.

/** Milliseconds before try `attempt` (0, 1, 2, ...) of reaching a server: half a second to four. */
export function backoffMs(attempt: number): number {
  return Math.min(4000, 500 * 2 ** attempt);
}

/** A look at `signal.aborted` that a compiler does not take for constant across an await. */
export const isAborted = (signal: AbortSignal): boolean => signal.aborted;

/** Resolves after `ms`, or as soon as `signal` aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal?.aborted) done();
    else signal?.addEventListener("abort", done);
  });
}
