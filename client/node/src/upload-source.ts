// The bytes of an upload.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";

import { DenoisedError } from "./errors.js";

/** The same bytes whenever they are read. */
export interface UploadSource {
  /** Of all of it, in bytes. */
  readonly size: number;
  /** From `offset` to the end. */
  read(offset: number): AsyncIterable<Uint8Array>;
}

/** A file as it is. */
export class FileSource implements UploadSource {
  private constructor(
    private readonly path: string,
    readonly size: number,
  ) {}

  /** @throws DenoisedError INVALID_ARGUMENT if it cannot be read. */
  static async open(path: string): Promise<FileSource> {
    const { size } = await stat(path).catch((error: unknown) => {
      throw cannotRead(path, error);
    });
    return new FileSource(path, size);
  }

  read(offset: number): AsyncGenerator<Uint8Array, void> {
    return readFile(this.path, offset);
  }
}

/** The bytes of a file from `offset` on. */
export async function* readFile(path: string, offset = 0): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const bytes of createReadStream(path, { start: offset })) yield bytes as Buffer;
  } catch (error) {
    throw cannotRead(path, error);
  }
}

export function cannotRead(path: string, error: unknown): DenoisedError {
  const reason = error instanceof Error ? error.message : String(error);
  return new DenoisedError("INVALID_ARGUMENT", `cannot read ${path}: ${reason}`, { cause: error });
}

/** The parts without their first `skip` bytes. */
export async function* skipBytes(
  parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  skip: number,
): AsyncGenerator<Uint8Array, void> {
  let left = skip;
  for await (const part of parts) {
    if (left < part.length) yield part.subarray(left);
    left = Math.max(0, left - part.length);
  }
}

/** The same bytes in chunks of `chunkBytes`; the last one may be shorter. */
export async function* inChunks(
  parts: AsyncIterable<Uint8Array>,
  chunkBytes: number,
): AsyncGenerator<Buffer, void> {
  let pending: Uint8Array[] = [];
  let size = 0;
  for await (const part of parts) {
    for (let begin = 0; begin < part.length;) {
      const piece = part.subarray(begin, begin + chunkBytes - size);
      pending.push(piece);
      begin += piece.length;
      size += piece.length;
      if (size < chunkBytes) continue;
      yield Buffer.concat(pending);
      pending = [];
      size = 0;
    }
  }
  if (size > 0) yield Buffer.concat(pending);
}

/** SHA-256 of all of it. */
export async function sha256(source: UploadSource): Promise<Uint8Array> {
  const hash = createHash("sha256");
  for await (const bytes of source.read(0)) hash.update(bytes);
  return hash.digest();
}
