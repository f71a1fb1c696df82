// A small picture of each generation that has succeeded: the first image of its log.
import { signal } from "@preact/signals";
import type { Generation } from "../gen/denoised/v1/generations_pb.ts";
import { blobOf } from "../generation/album.ts";
import { encode } from "../request/pictures.ts";
import { generations } from "../rpc/clients.ts";

const side = 144;
const callsAtATime = 2;

/** Addresses of pictures by the name of the generation. */
export const thumbnails = signal<ReadonlyMap<string, string>>(new Map());

const waiting = new Map<string, Generation>();
let calls = 0;

/** Gets the thumbnail of a generation that has succeeded, unless it is there or on its way. */
export function wantThumbnail(generation: Generation): void {
  if (thumbnails.peek().has(generation.name)) return;
  waiting.set(generation.name, generation);
  startCalls();
}

/** The tile is out of sight: others come first. */
export function dropThumbnail(name: string): void {
  waiting.delete(name);
}

function startCalls(): void {
  for (const [name, generation] of waiting) {
    if (calls === callsAtATime) return;
    waiting.delete(name);
    calls++;
    void fetchThumbnail(generation).finally(() => {
      calls--;
      startCalls();
    });
  }
}

async function fetchThumbnail(generation: Generation): Promise<void> {
  const leaving = new AbortController();
  try {
    const request = { name: generation.name, resumeAfter: beforeImages(generation) };
    for await (const { event } of generations.watchGeneration(request, {
      signal: leaving.signal,
    })) {
      if (event.case !== "image" || event.value.image === undefined) continue;
      const url = URL.createObjectURL(await shrink(blobOf(event.value.image)));
      thumbnails.value = new Map(thumbnails.peek()).set(generation.name, url);
      return;
    }
  } catch {
    // Expired meanwhile, or no picture (an inversion makes noise): the tile stays without one.
  } finally {
    leaving.abort();
  }
}

// Images come last, each with some progress. What comes before need not be sent again.
function beforeImages({ lastSequence, accepted }: Generation): bigint | undefined {
  const before = lastSequence - BigInt(3 * (accepted?.count ?? 1) + 3);
  return before > 0n ? before : undefined;
}

async function shrink(blob: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(blob);
  const scale = side / Math.max(bitmap.width, bitmap.height);
  if (scale >= 0.5) return blob;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return encode(canvas, "image/webp");
}
