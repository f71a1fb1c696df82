import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ActivitySnapshot,
  ActivitySnapshotSchema,
  type DeviceActivitySchema,
  DeviceActivity_Turn as Turn,
} from "../src/gen/denoised/v1/activity_pb.ts";
import { History, lastOf, shares, slope } from "../src/live/history.ts";
import { type Boards, colours, nextBoards, slotCount } from "../src/live/lanes.ts";

type Device = MessageInitShape<typeof DeviceActivitySchema>;

/** A device in a turn that has begun at `startMs`. */
const turn = (kind: Turn, startMs: number, other: Device = {}): Device => ({
  device: "cpu",
  turn: kind,
  turnTime: timestampFromMs(startMs),
  maxBatchRows: 4,
  maxActiveRows: 8,
  ...other,
});

const snapshotAt = (timeMs: number, device: Device, images = 0n): ActivitySnapshot =>
  create(ActivitySnapshotSchema, { time: timestampFromMs(timeMs), devices: [device], images });

describe("lanes", () => {
  const image = (name: string, rows = 1, imageIndex = 0) => ({
    generation: `generations/${name}`,
    imageIndex,
    rows,
  });

  /** Evaluates `images` in a turn of its own. */
  const evaluate = (boards: Boards, atMs: number, activeRows: number, images: object[]) =>
    nextBoards(boards, snapshotAt(atMs, turn(Turn.EVALUATE, atMs, { images, activeRows })));

  const drawn = (boards: Boards) =>
    boards
      .get("cpu")
      ?.map(
        ({ image, slot, inTurn }) =>
          `${slot}: ${image.generation.slice(12)}${inTurn ? "" : " waits"}`,
      );

  test("an image takes as many neighbouring slots as it has rows", () => {
    const boards = evaluate(new Map(), 0, 4, [image("guided", 2), image("a"), image("b")]);
    assert.deepEqual(drawn(boards), ["0: guided", "2: a", "3: b"]);
  });

  test("images that take turns keep their slots and colours", () => {
    let boards = evaluate(new Map(), 0, 4, [image("a", 2)]);
    boards = evaluate(boards, 250, 4, [image("b", 2)]);
    assert.deepEqual(drawn(boards), ["0: a waits", "2: b"]);
    const before = boards.get("cpu")?.map(({ colour }) => colour);
    boards = evaluate(boards, 500, 4, [image("a", 2)]);
    assert.deepEqual(drawn(boards), ["0: a", "2: b waits"]);
    assert.deepEqual(
      boards.get("cpu")?.map(({ colour }) => colour),
      before,
    );
  });

  test("an image whose rows are no longer active has left, and others stay where they are", () => {
    let boards = evaluate(new Map(), 0, 3, [image("a"), image("b"), image("c")]);
    boards = evaluate(boards, 250, 2, [image("a"), image("c")]);
    assert.deepEqual(drawn(boards), ["0: a", "2: c"]);
    boards = evaluate(boards, 500, 4, [image("a"), image("c"), image("wide", 2)]);
    assert.deepEqual(drawn(boards), ["0: a", "2: c", "3: wide"]);
    boards = evaluate(boards, 750, 5, [image("a"), image("c"), image("wide", 2), image("d")]);
    assert.deepEqual(drawn(boards), ["0: a", "1: d", "2: c", "3: wide"]);
  });

  test("an image does not begin in one column and end in the next", () => {
    const images = [image("a", 31), image("guided", 2), image("b")];
    const boards = evaluate(new Map(), 0, 34, images);
    assert.deepEqual(drawn(boards), ["0: a", "31: b", "32: guided"]);
  });

  test("of images that may have left, the one that was seen longest ago has", () => {
    let boards = evaluate(new Map(), 0, 1, [image("gone")]);
    boards = evaluate(boards, 250, 2, [image("a")]);
    boards = evaluate(boards, 500, 2, [image("b")]);
    assert.deepEqual(drawn(boards), ["0: b", "1: a waits"]);
  });

  test("slow turns make nobody leave who still waits for one", () => {
    let boards = evaluate(new Map(), 0, 8, [image("a", 4)]);
    boards = evaluate(boards, 30_000, 8, [image("b", 4)]);
    assert.deepEqual(drawn(boards), ["0: a waits", "4: b"]);
  });

  test("training leaves the images where they are, and an idle device has none", () => {
    let boards = evaluate(new Map(), 0, 1, [image("a")]);
    boards = nextBoards(boards, snapshotAt(250, turn(Turn.TRAIN, 200, { activeRows: 1 })));
    assert.deepEqual(drawn(boards), ["0: a waits"]);
    boards = nextBoards(boards, snapshotAt(500, turn(Turn.IDLE, 400)));
    assert.deepEqual(drawn(boards), []);
  });

  test("a generation has one colour, and others have it only when there is no other", () => {
    const images = [image("a", 1, 0), image("a", 1, 1)];
    for (let i = 0; i < colours; i++) images.push(image(`b${i}`));
    const boards = evaluate(new Map(), 0, images.length, images);
    const [first, second, ...others] = boards.get("cpu")?.map(({ colour }) => colour) ?? [];
    assert.equal(first, second);
    assert.equal(new Set([first, ...others.slice(0, -1)]).size, colours);
    assert.equal(others.length, colours);
  });

  test("the board shows the whole batch, and more where more rows are active", () => {
    const device = snapshotAt(0, turn(Turn.EVALUATE, 0)).devices[0];
    const board = (rows: number) =>
      evaluate(new Map(), 0, rows, [image("a", rows)]).get("cpu") ?? [];
    assert.ok(device, "there is no device");
    assert.equal(slotCount(board(1), device), 4);
    assert.equal(slotCount(board(7), device), 7);
    assert.equal(slotCount(board(1), { ...device, maxBatchRows: 4096 }), 32);
  });
});

describe("history", () => {
  test("rates are differences of totals over the time between", () => {
    const history = new History();
    for (let second = 0; second <= 4; second++) {
      const totals = { evaluations: BigInt(10 * second), rows: BigInt(30 * second) };
      history.observe(snapshotAt(second * 1000, turn(Turn.IDLE, 0, totals), BigInt(second)));
      history.sample(second * 1000);
    }
    const { samples } = history;
    const seconds = slope(
      samples,
      (s) => s.evaluations,
      (s) => s.timeMs / 1000,
      2000,
    );
    assert.deepEqual(seconds, [null, 10, 10, 10, 10]);
    const rows = slope(
      samples,
      (s) => s.rows,
      (s) => s.evaluations,
      2000,
    );
    assert.deepEqual(rows, [null, 3, 3, 3, 3]);
  });

  test("a moment is too short to tell a rate from", () => {
    const history = new History();
    history.observe(snapshotAt(0, turn(Turn.IDLE, 0)));
    for (let second = 0; second <= 3; second++) history.sample(second * 1000);
    const rates = slope(
      history.samples,
      (s) => s.images,
      (s) => s.timeMs,
      5000,
    );
    assert.deepEqual(rates, [null, null, null, 0]);
  });

  test("where nothing was evaluated there are no rows per evaluation", () => {
    const history = new History();
    history.observe(snapshotAt(0, turn(Turn.IDLE, 0)));
    history.sample(0);
    history.sample(1000);
    const rows = slope(
      history.samples,
      (s) => s.rows,
      (s) => s.evaluations,
      5000,
    );
    assert.deepEqual(rows, [null, null]);
  });

  /** Shares of the time between the last two samples. */
  const latestShares = ({ samples: [...samples] }: History) => {
    const [before, after] = samples.slice(-2);
    assert.ok(before && after, "there are no two samples");
    return shares(before, after, "cpu");
  };

  test("a turn that runs counts while it runs, and once when it has ended", () => {
    const history = new History();
    const running = turn(Turn.EVALUATE, 0, { evaluating: durationFromMs(0) });
    history.observe(snapshotAt(0, running));
    history.sample(0);
    history.sample(1000);
    assert.equal(latestShares(history).evaluate, 1);
    const ended = { evaluating: durationFromMs(1500), evaluations: 1n };
    history.observe(snapshotAt(1500, turn(Turn.IDLE, 1500, ended)));
    history.sample(2000);
    assert.equal(latestShares(history).evaluate, 0.5);
    history.sample(3000);
    assert.equal(latestShares(history).evaluate, 0);
  });

  test("shares of one stage do not take from another's", () => {
    const history = new History();
    const spent = (evaluate: number, train: number): Device => ({
      evaluating: durationFromMs(evaluate),
      training: durationFromMs(train),
    });
    history.observe(snapshotAt(0, turn(Turn.IDLE, 0, spent(0, 0))));
    history.sample(0);
    history.observe(snapshotAt(1000, turn(Turn.IDLE, 900, spent(250, 500))));
    history.sample(1000);
    assert.deepEqual(latestShares(history), { evaluate: 0.25, train: 0.5, encode: 0, decode: 0 });
  });

  test("a server that has restarted begins a new history", () => {
    const history = new History();
    history.observe(snapshotAt(0, turn(Turn.IDLE, 0, { evaluations: 7n })));
    history.sample(0);
    history.sample(1000);
    history.observe(snapshotAt(2000, turn(Turn.IDLE, 2000, { evaluations: 0n })));
    history.sample(2000);
    assert.deepEqual(
      history.samples.map(({ timeMs }) => timeMs),
      [2000],
    );
  });

  test("what is older than any chart is forgotten", () => {
    const history = new History();
    history.observe(snapshotAt(0, turn(Turn.IDLE, 0)));
    for (let second = 0; second < 1000; second++) history.sample(second * 1000);
    assert.equal(history.samples.length, 150);
    assert.equal(lastOf(history.samples, 60_000).length, 61);
  });
});
