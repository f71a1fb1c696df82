// A picture on a canvas, which shows one frame until the next one is ready: no flicker between them.
import { useLayoutEffect, useRef } from "preact/hooks";

interface PictureProps {
  blob: Blob | undefined;
  label: string;
}

export function Picture({ blob, label }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter>(undefined);
  // Before anybody sees the new label: the picture is busy until it shows what the label says.
  useLayoutEffect(() => {
    if (canvas.current === null) return;
    painter.current ??= new Painter(canvas.current);
    painter.current.paint(blob);
  }, [blob]);
  return <canvas ref={canvas} role="img" aria-label={label} width={1} height={1} />;
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
    this.#canvas.ariaBusy = "true";
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
    this.#canvas.ariaBusy = String(this.#next !== undefined);
  }

  #clear(): void {
    this.#canvas.getContext("2d")?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#canvas.ariaBusy = String(this.#next !== undefined);
  }
}
