// Hashes a file in a thread of its own, so that the page stays quick.
import { Sha256 } from "./sha256.ts";

/** What the worker says: how many bytes it has read and, at the end, their hash. */
export interface HashProgress {
  readBytes: number;
  sha256?: Uint8Array;
  /** Why the file cannot be read. */
  error?: string;
}

const pieceBytes = 2 ** 22;

async function hash(file: Blob, tell: (progress: HashProgress) => void): Promise<void> {
  const sha256 = new Sha256();
  for (let at = 0; at < file.size; at += pieceBytes) {
    sha256.update(new Uint8Array(await file.slice(at, at + pieceBytes).arrayBuffer()));
    tell({ readBytes: Math.min(file.size, at + pieceBytes) });
  }
  tell({ readBytes: file.size, sha256: sha256.finish() });
}

addEventListener("message", ({ data }: MessageEvent<Blob>) => {
  hash(data, (progress) => postMessage(progress)).catch((error: unknown) =>
    postMessage({ readBytes: 0, error: String(error) } satisfies HashProgress),
  );
});
