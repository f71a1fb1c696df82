// Pictures for data sets.
import { crc32, deflateSync } from "node:zlib";

/** A square RGB picture of one color, as a PNG. `incompressible` ones are filled with noise. */
export function pngPicture(
  size: number,
  color: [number, number, number],
  incompressible = false,
): Buffer {
  const row = Buffer.concat([Buffer.of(0), ...Array<Buffer>(size).fill(Buffer.of(...color))]);
  const pixels = Buffer.concat(Array<Buffer>(size).fill(row));
  if (incompressible) addNoise(pixels, row.length, color[0]);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 2], 8); // eight bits, RGB
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(pixels, { level: 1 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

// A linear congruential generator, so that the same picture has the same bytes.
function addNoise(pixels: Buffer, rowBytes: number, seed: number): void {
  let state = seed + 1;
  for (let i = 0; i < pixels.length; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    if (i % rowBytes !== 0) pixels[i] = state >>> 24;
  }
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
