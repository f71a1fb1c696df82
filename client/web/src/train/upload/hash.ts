// The SHA-256 of a file of any size.
import { Code, ConnectError } from "@connectrpc/connect";
import type { HashProgress } from "./hash-worker.ts";

/** Rejects if the file cannot be read, or when `signal` aborts. */
export function sha256Of(
  file: Blob,
  onProgress: (readBytes: number) => void,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const worker = new Worker(new URL("./hash-worker.ts", import.meta.url), { type: "module" });
  const hashing = new Promise<Uint8Array>((resolve, reject) => {
    const fail = (why: string) => reject(new ConnectError(why, Code.InvalidArgument));
    signal.addEventListener("abort", () => reject(new ConnectError("cancelled", Code.Canceled)));
    worker.onerror = () => fail("The browser could not start the thread that reads the files.");
    worker.onmessage = ({ data }: MessageEvent<HashProgress>) => {
      if (data.sha256) resolve(data.sha256);
      else if (data.error !== undefined)
        fail("A file cannot be read: it has changed or is gone. Choose the files again.");
      else onProgress(data.readBytes);
    };
    worker.postMessage(file);
  });
  return hashing.finally(() => worker.terminate());
}
