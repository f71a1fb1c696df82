// The pictures of a generation: a frame of each kind after every step, and the finished images.
import { signal } from "@preact/signals";
import {
  Encoding,
  type Frame,
  FrameKind,
  type GeneratedImage,
  type Image,
} from "../gen/denoised/v1/image_generation_pb.ts";

/** What was seen of one image after a step. */
export interface Moment {
  /** Steps done, from 1. */
  step: number;
  timestep: number;
  /** The noisy image. */
  xt?: Blob;
  /** The image that the network predicts. */
  x0?: Blob;
}

export interface Result {
  blob: Blob;
  seed: bigint;
}

const mediaTypes: Record<Encoding, string> = {
  [Encoding.UNSPECIFIED]: "image/png",
  [Encoding.PNG]: "image/png",
  [Encoding.JPEG]: "image/jpeg",
  [Encoding.WEBP]: "image/webp",
  [Encoding.RAW_FLOAT32]: "application/octet-stream",
};

export class Album {
  /** Rises with every picture. Components read it first, so that new pictures redraw them. */
  readonly revision = signal(0);
  readonly #moments = new Map<number, Moment[]>();
  readonly #results = new Map<number, Result>();

  /** In the order of their steps. */
  moments(imageIndex: number): readonly Moment[] {
    return this.#moments.get(imageIndex) ?? [];
  }

  result(imageIndex: number): Result | undefined {
    return this.#results.get(imageIndex);
  }

  addFrame(frame: Frame): void {
    if (frame.image === undefined) return;
    const moments = this.#moments.get(frame.imageIndex) ?? [];
    this.#moments.set(frame.imageIndex, moments);
    let moment = moments.find(({ step }) => step === frame.step);
    if (moment === undefined) {
      moment = { step: frame.step, timestep: frame.timestep };
      moments.push(moment);
      moments.sort((a, b) => a.step - b.step);
    }
    if (frame.kind === FrameKind.X_T) moment.xt = blobOf(frame.image);
    else moment.x0 = blobOf(frame.image);
    this.revision.value++;
  }

  addResult({ imageIndex, image, seed }: GeneratedImage): void {
    if (image) this.#results.set(imageIndex, { blob: blobOf(image), seed });
    this.revision.value++;
  }

  clear(): void {
    this.#moments.clear();
    this.#results.clear();
    this.revision.value++;
  }
}

export function blobOf(image: Image): Blob {
  return new Blob([image.data as Uint8Array<ArrayBuffer>], { type: mediaTypes[image.encoding] });
}
