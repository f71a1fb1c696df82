// Where each image is drawn. The images in a device's loop take turns, so a snapshot names only some
// of them; an image keeps its lane and its colour until it has left the loop.
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
  /** Turns of the device since then. */
  turnsSince: number;
}

/** What is drawn of one device. */
export interface Board {
  turnMs: number;
  /** By slot. */
  lanes: readonly Lane[];
}

/** By the name of the device. */
export type Boards = ReadonlyMap<string, Board>;

/** How many colours there are. More generations than that share them. */
export const colours = 8;

const rememberedMs = 2000;
const slotsMin = 32;

export function nextBoards(boards: Boards, { devices, time }: ActivitySnapshot): Boards {
  const nowMs = time ? timestampMs(time) : 0;
  const coloured = new Map<string, number>();
  for (const { image, colour } of [...boards.values()].flatMap(({ lanes }) => lanes))
    coloured.set(image.generation, colour);
  const next = new Map<string, Board>();
  for (const device of devices) {
    const lanes = nextLanes(boards.get(device.device), device, nowMs, coloured);
    next.set(device.device, { turnMs: turnMs(device), lanes });
  }
  return next;
}

/** Slots of a column, where there is room for two columns. No image continues in the next one. */
export const slotsOfColumn = ({ maxActiveRows }: DeviceActivity) =>
  Math.max(slotsMin, Math.ceil(maxActiveRows / 2));

/** Free slots are worth drawing, but not thousands of them. */
export function slotCount({ lanes }: Board, { maxBatchRows }: DeviceActivity): number {
  const used = lanes.map(({ slot, image }) => slot + image.rows);
  return Math.max(Math.min(maxBatchRows, slotsMin), ...used);
}

export const keyOf = ({ generation, imageIndex }: ActiveImage) => `${generation}/${imageIndex}`;

const turnMs = ({ turnTime }: DeviceActivity) => (turnTime ? timestampMs(turnTime) : 0);

function nextLanes(
  board: Board | undefined,
  device: DeviceActivity,
  nowMs: number,
  coloured: Map<string, number>,
): Lane[] {
  const before = new Map((board?.lanes ?? []).map((lane) => [keyOf(lane.image), lane]));
  const inTurn = new Set(device.images.map(keyOf));
  const others = [...before.values()].filter(({ image }) => !inTurn.has(keyOf(image)));
  const newTurn = board !== undefined && board.turnMs !== turnMs(device);
  const kept = stillActive(
    others.map((lane) => ({
      ...lane,
      inTurn: false,
      turnsSince: lane.turnsSince + Number(newTurn),
    })),
    device,
    nowMs,
  );
  const seen = { inTurn: true, seenMs: nowMs, turnsSince: 0 };
  const lanes = [...kept];
  const arrivals: ActiveImage[] = [];
  for (const image of device.images) {
    const lane = before.get(keyOf(image));
    if (lane) lanes.push({ ...lane, ...seen, image });
    else arrivals.push(image);
  }
  for (const image of arrivals) {
    const slot = freeSlot(lanes, image.rows, slotsOfColumn(device));
    lanes.push({ image, slot, colour: colourOf(image, coloured), ...seen });
  }
  return lanes.sort((a, b) => a.slot - b.slot);
}

/** Those of `lanes`, which are not in the turn, whose images may still be in the loop. */
function stillActive(lanes: Lane[], device: DeviceActivity, nowMs: number): Lane[] {
  const rowsInTurn = device.images.reduce((sum, { rows }) => sum + rows, 0);
  let rowsLeft = device.activeRows - rowsInTurn;
  // Slow turns: everyone has a turn within about this many.
  const turnsMax = 2 * Math.ceil(device.activeRows / Math.max(1, device.maxBatchRows)) + 1;
  return lanes
    .sort((a, b) => b.seenMs - a.seenMs)
    .filter(({ image, seenMs, turnsSince }) => {
      const recent = nowMs - seenMs < rememberedMs || turnsSince <= turnsMax;
      if (!recent || image.rows > rowsLeft) return false;
      rowsLeft -= image.rows;
      return true;
    });
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
