// The SHA-256 of a file of any size.
import { Code, ConnectError } from "@connectrpc/connect";
import type { HashProgress } from "./hash-worker.ts";

const unreadable = "A file cannot be read: it has changed or is gone. Choose the files again.";

/**
 * Rejects with a ConnectError: Unavailable if the server does not send the worker, InvalidArgument
 * if the file cannot be read, and Canceled when `signal` aborts.
 */
export function sha256Of(
  file: Blob,
  onProgress: (readBytes: number) => void,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const worker = new Worker(new URL("./hash-worker.ts", import.meta.url), { type: "module" });
  const hashing = new Promise<Uint8Array>((resolve, reject) => {
    const fail = (why: string, code: Code) => reject(new ConnectError(why, code));
    signal.addEventListener("abort", () => reject(new ConnectError("cancelled", Code.Canceled)));
    worker.onerror = () => fail("The worker's script did not load", Code.Unavailable);
    worker.onmessage = ({ data }: MessageEvent<HashProgress>) => {
      if (data.sha256) resolve(data.sha256);
      else if (data.error !== undefined) fail(unreadable, Code.InvalidArgument);
      else onProgress(data.readBytes);
    };
    worker.postMessage(file);
  });
  return hashing.finally(() => worker.terminate());
}
