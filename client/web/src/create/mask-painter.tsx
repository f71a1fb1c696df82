// Paints the part of a picture that is replaced. The mask has the proportions of the image: white
// where it is replaced, black where it is kept.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { encode } from "../request/pictures.ts";

interface MaskPainterProps {
  /** Of the picture, whose middle is shown in the image's proportions. */
  url: string;
  /** Of the image, in pixels. */
  width: number;
  height: number;
  /** The mask so far. */
  mask: Uint8Array | undefined;
  onMask: (mask: Blob) => void;
}

const longestSide = 512;

export function MaskPainter({ url, width, height, mask, onMask }: MaskPainterProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const last = useRef<Point>(undefined); // where the pointer was
  const brush = useSignal(15);
  const erases = useSignal(false);
  const scale = Math.min(1, longestSide / Math.max(width, height));
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };

  useEffect(() => {
    if (canvas.current && mask) void showMask(canvas.current, mask);
  }, [mask]);

  const finish = () => {
    if (canvas.current) void maskOf(canvas.current).then(onMask);
  };
  const paintPart = (x: number, y: number, w: number, h: number) => {
    const context = canvas.current?.getContext("2d");
    context?.clearRect(0, 0, size.width, size.height);
    fill(context, () =>
      context?.fillRect(x * size.width, y * size.height, w * size.width, h * size.height),
    );
    finish();
  };
  const paint = (event: PointerEvent & { currentTarget: HTMLCanvasElement }) => {
    if (event.buttons !== 1) return;
    const points = pointsOf(event, event.currentTarget);
    stroke(event.currentTarget, [last.current, ...points], brush.value / 100, erases.value);
    last.current = points.at(-1);
  };
  return (
    <div class="mask">
      <div class="mask-picture" style={{ "--w": width, "--h": height }}>
        <img src={url} alt="The picture, a part of which is replaced" />
        <canvas
          ref={canvas}
          {...size}
          role="img"
          aria-label="The part that is replaced. Paint it, or choose one of the buttons below."
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            last.current = undefined;
            paint(event);
          }}
          onPointerMove={paint}
          onPointerUp={finish}
        />
      </div>
      <div class="row">
        <label class="brush">
          Brush
          <input
            type="range"
            min="3"
            max="50"
            value={brush.value}
            onInput={(event) => (brush.value = Number(event.currentTarget.value))}
          />
        </label>
        <label class="choice">
          <input
            type="checkbox"
            checked={erases.value}
            onChange={() => (erases.value = !erases.value)}
          />
          <span>Erase</span>
        </label>
      </div>
      <div class="choices">
        <button type="button" class="small" onClick={() => paintPart(0, 0, 1, 0.5)}>
          Top
        </button>
        <button type="button" class="small" onClick={() => paintPart(0, 0.5, 1, 0.5)}>
          Bottom
        </button>
        <button type="button" class="small" onClick={() => paintPart(0, 0, 0.5, 1)}>
          Left
        </button>
        <button type="button" class="small" onClick={() => paintPart(0.5, 0, 0.5, 1)}>
          Right
        </button>
        <button type="button" class="small" onClick={() => paintPart(0, 0, 0, 0)}>
          Clear
        </button>
      </div>
    </div>
  );
}

// On the canvas, painted is opaque and kept is transparent, so that the picture shows through.
function fill(context: CanvasRenderingContext2D | null | undefined, draw: () => void): void {
  if (!context) return;
  context.fillStyle = "white";
  context.globalCompositeOperation = "source-over";
  draw();
}

type Point = { x: number; y: number } | undefined;

// In pixels of the canvas.
function pointsOf(event: PointerEvent, canvas: HTMLCanvasElement): Point[] {
  const { left, top, width } = canvas.getBoundingClientRect();
  const scale = canvas.width / width;
  const events = event.getCoalescedEvents();
  return (events.length > 0 ? events : [event]).map(({ clientX, clientY }) => ({
    x: (clientX - left) * scale,
    y: (clientY - top) * scale,
  }));
}

// `brush`: its diameter, as a share of the width.
function stroke(canvas: HTMLCanvasElement, points: Point[], brush: number, erases: boolean): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const [first, ...others] = points.filter((point) => point !== undefined);
  if (first === undefined) return;
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  context.strokeStyle = "white";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = brush * canvas.width;
  context.beginPath();
  context.moveTo(first.x, first.y);
  for (const { x, y } of others.length > 0 ? others : [first]) context.lineTo(x, y);
  context.stroke();
}

function maskOf(canvas: HTMLCanvasElement): Promise<Blob> {
  const mask = document.createElement("canvas");
  mask.width = canvas.width;
  mask.height = canvas.height;
  const context = mask.getContext("2d");
  context?.fillRect(0, 0, mask.width, mask.height);
  context?.drawImage(canvas, 0, 0);
  return encode(mask, "image/png");
}

async function showMask(canvas: HTMLCanvasElement, mask: Uint8Array): Promise<void> {
  const bitmap = await createImageBitmap(new Blob([mask as Uint8Array<ArrayBuffer>]));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i] ?? 0;
  context.putImageData(pixels, 0, 0);
}
