// Hashes a file piece by piece, in a thread of its own so that the page stays quick. The browser's
// own SHA-256 needs all bytes at once, and HTTPS.
import { sha256 } from "@noble/hashes/sha2.js";

/** What the worker says: how many bytes it has read and, at the end, their hash. */
export interface HashProgress {
  readBytes: number;
  sha256?: Uint8Array;
  /** Why the file cannot be read. */
  error?: string;
}

const pieceBytes = 2 ** 22;

async function hash(file: Blob, tell: (progress: HashProgress) => void): Promise<void> {
  const hasher = sha256.create();
  for (let at = 0; at < file.size; at += pieceBytes) {
    hasher.update(new Uint8Array(await file.slice(at, at + pieceBytes).arrayBuffer()));
    tell({ readBytes: Math.min(file.size, at + pieceBytes) });
  }
  tell({ readBytes: file.size, sha256: hasher.digest() });
}

addEventListener("message", ({ data }: MessageEvent<Blob>) => {
  hash(data, (progress) => postMessage(progress)).catch((error: unknown) =>
    postMessage({ readBytes: 0, error: String(error) } satisfies HashProgress),
  );
});
