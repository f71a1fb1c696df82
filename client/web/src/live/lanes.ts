// Where each image is drawn. The images in a device's loop take turns, so a snapshot names only
// some of them; an image keeps its lane and its colour until it has left the loop.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  ActiveImage,
  ActivitySnapshot,
  DeviceActivity,
} from "../gen/denoised/v1/activity_pb.ts";

/** An image in a device's loop, as it was seen last. */
export interface Lane {
  image: ActiveImage;
  /** The first of its `image.rows` neighbouring slots, from 0. */
  slot: number;
  /** Of its generation: 0 to `colours` - 1. */
  colour: number;
  /** It takes part in the device's turn. */
  inTurn: boolean;
  seenMs: number;
}

/** The lanes of each device, by its name; those by slot. */
export type Boards = ReadonlyMap<string, readonly Lane[]>;

/** How many colours there are. More generations than that share them. */
export const colours = 8;

const slotsMin = 32;

export function nextBoards(boards: Boards, { devices, time }: ActivitySnapshot): Boards {
  const nowMs = time ? timestampMs(time) : 0;
  const coloured = new Map<string, number>();
  for (const { image, colour } of [...boards.values()].flat())
    coloured.set(image.generation, colour);
  const next = new Map<string, readonly Lane[]>();
  for (const device of devices) {
    const lanes = boards.get(device.device) ?? [];
    next.set(device.device, nextLanes(lanes, device, nowMs, coloured));
  }
  return next;
}

/** Slots of a column, where there is room for two columns. No image continues in the next one. */
export const slotsOfColumn = ({ maxActiveRows }: DeviceActivity) =>
  Math.max(slotsMin, Math.ceil(maxActiveRows / 2));

/** Free slots are worth drawing, but not thousands of them. */
export function slotCount(lanes: readonly Lane[], { maxBatchRows }: DeviceActivity): number {
  const used = lanes.map(({ slot, image }) => slot + image.rows);
  return Math.max(Math.min(maxBatchRows, slotsMin), ...used);
}

export const keyOf = ({ generation, imageIndex }: ActiveImage) => `${generation}/${imageIndex}`;

function nextLanes(
  known: readonly Lane[],
  device: DeviceActivity,
  nowMs: number,
  coloured: Map<string, number>,
): Lane[] {
  const before = new Map(known.map((lane) => [keyOf(lane.image), lane]));
  const lanes: Lane[] = [];
  const arrivals: ActiveImage[] = [];
  for (const image of device.images) {
    const lane = before.get(keyOf(image));
    before.delete(keyOf(image));
    if (lane) lanes.push({ ...lane, image, inTurn: true, seenMs: nowMs });
    else arrivals.push(image);
  }
  lanes.push(...stillActive([...before.values()], device));
  for (const image of arrivals) {
    const slot = freeSlot(lanes, image.rows, slotsOfColumn(device));
    const colour = colourOf(image, coloured);
    lanes.push({ image, slot, colour, inTurn: true, seenMs: nowMs });
  }
  return lanes.sort((a, b) => a.slot - b.slot);
}

/** Of `lanes`, which are not in the turn, those seen last, as far as the active rows are theirs. */
function stillActive(lanes: Lane[], { activeRows, images }: DeviceActivity): Lane[] {
  let rowsLeft = activeRows - images.reduce((sum, { rows }) => sum + rows, 0);
  return lanes
    .sort((a, b) => b.seenMs - a.seenMs)
    .filter(({ image: { rows } }) => {
      const fits = rows <= rowsLeft;
      if (fits) rowsLeft -= rows;
      return fits;
    })
    .map((lane) => ({ ...lane, inTurn: false }));
}

/** The first of `rows` neighbouring slots of one column that are free. */
function freeSlot(lanes: readonly Lane[], rows: number, columnSlots: number): number {
  const fitting = (slot: number) => {
    const left = columnSlots - (slot % columnSlots);
    return rows > left ? slot + left : slot;
  };
  let slot = 0;
  for (const lane of [...lanes].sort((a, b) => a.slot - b.slot)) {
    if (fitting(slot) + rows <= lane.slot) break;
    slot = lane.slot + lane.image.rows;
  }
  return fitting(slot);
}

/** The colour of the image's generation; of a new one, the colour that the fewest others have. */
function colourOf({ generation }: ActiveImage, coloured: Map<string, number>): number {
  const uses = new Array<number>(colours).fill(0);
  for (const colour of coloured.values()) uses[colour] = (uses[colour] ?? 0) + 1;
  const colour = coloured.get(generation) ?? uses.indexOf(Math.min(...uses));
  coloured.set(generation, colour);
  return colour;
}
