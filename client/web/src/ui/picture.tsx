// A picture on a canvas, which shows one frame until the next one is ready: no flicker between them.
import { useEffect, useRef } from "preact/hooks";

interface PictureProps {
  blob: Blob | undefined;
  label: string;
  /** Before the first picture. */
  width: number;
  height: number;
}

export function Picture({ blob, label, width, height }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter>(undefined);
  useEffect(() => {
    if (canvas.current === null) return;
    painter.current ??= new Painter(canvas.current);
    painter.current.paint(blob);
  }, [blob]);
  return <canvas ref={canvas} role="img" aria-label={label} width={width} height={height} />;
}

class Painter {
  readonly #canvas: HTMLCanvasElement;
  #next: Blob | undefined;
  #painting = false;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  /** Shows the picture as soon as it is decoded, unless a later one comes first. */
  paint(blob: Blob | undefined): void {
    this.#next = blob;
    if (blob === undefined) this.#clear();
    else if (!this.#painting) void this.#paintLatest();
  }

  async #paintLatest(): Promise<void> {
    this.#painting = true;
    while (this.#next) {
      const blob = this.#next;
      const bitmap = await createImageBitmap(blob).catch(() => undefined);
      const stillWanted = (this.#next as Blob | undefined) !== undefined;
      if (this.#next === blob) this.#next = undefined;
      if (bitmap && stillWanted) this.#draw(bitmap);
      else this.#clear(); // no longer wanted, or not a picture: an inversion makes noise
    }
    this.#painting = false;
  }

  #draw(bitmap: ImageBitmap): void {
    this.#canvas.width = bitmap.width;
    this.#canvas.height = bitmap.height;
    this.#canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  #clear(): void {
    this.#canvas.getContext("2d")?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }
}
