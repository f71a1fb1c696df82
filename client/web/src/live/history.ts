// What the totals of snapshots tell about the time between them: rates, and shares of a device's
// time.
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ActivitySnapshot,
  type DeviceActivity,
  DeviceActivity_Turn as Turn,
} from "../gen/denoised/v1/activity_pb.ts";

/** What a device spends its time on; the rest is idle. */
export const stages = ["evaluate", "encode", "decode", "train"] as const;
export type Stage = (typeof stages)[number];

const stageOfTurn: Partial<Record<Turn, Stage>> = {
  [Turn.EVALUATE]: "evaluate",
  [Turn.ENCODE]: "encode",
  [Turn.DECODE]: "decode",
  [Turn.TRAIN]: "train",
};

/** The stage of what the device does now. Undefined: it is idle. */
export const stageOf = ({ turn }: DeviceActivity) => stageOfTurn[turn];

/** Milliseconds, or shares, by stage. */
export type ByStage = Readonly<Record<Stage, number>>;

/** The totals at one time of the server's clock. */
export interface Sample {
  timeMs: number;
  evaluations: number;
  rows: number;
  images: number;
  /** How long each device has spent on what, its current turn included. */
  devices: ReadonlyMap<string, ByStage>;
}

/** Longer than any chart, because each point of a chart looks back. */
const keptMs = 150_000;

export class History {
  #samples: readonly Sample[] = [];
  #latest: ActivitySnapshot | undefined;

  /** Oldest first. A new array after each change. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Takes the newest totals. Those of a server that has restarted begin a new history. */
  observe(snapshot: ActivitySnapshot): void {
    for (const device of snapshot.devices) {
      const before = this.#latest?.devices.find((known) => known.device === device.device);
      if (before && hasRestarted(before, device)) this.#samples = [];
    }
    this.#latest = snapshot;
  }

  /** Adds the totals as they are at `timeMs`: without a newer snapshot, nothing has changed. */
  sample(timeMs: number): void {
    const latest = this.#latest;
    const last = this.#samples.at(-1);
    if (latest === undefined || (last && timeMs <= last.timeMs)) return;
    const recent = this.#samples.filter((sample) => sample.timeMs > timeMs - keptMs);
    this.#samples = [...recent, this.#totals(latest, timeMs, last)];
  }

  #totals({ devices, images }: ActivitySnapshot, timeMs: number, last?: Sample): Sample {
    const spent = new Map<string, ByStage>();
    for (const device of devices) {
      const running = timeMs - startMs(device);
      spent.set(device.device, spentMs(device, running, last?.devices.get(device.device)));
    }
    return {
      timeMs,
      evaluations: devices.reduce((sum, { evaluations }) => sum + Number(evaluations), 0),
      rows: devices.reduce((sum, { rows }) => sum + Number(rows), 0),
      images: Number(images),
      devices: spent,
    };
  }
}

const startMs = ({ turnTime }: DeviceActivity) => (turnTime ? timestampMs(turnTime) : Infinity);

const hasRestarted = (before: DeviceActivity, after: DeviceActivity) =>
  after.evaluations < before.evaluations || busyMs(after) < busyMs(before);

const totalMs = (device: DeviceActivity): ByStage => ({
  evaluate: device.evaluating ? durationMs(device.evaluating) : 0,
  encode: device.encoding ? durationMs(device.encoding) : 0,
  decode: device.decoding ? durationMs(device.decoding) : 0,
  train: device.training ? durationMs(device.training) : 0,
});

const busyMs = (device: DeviceActivity) => sum(totalMs(device));

const sum = (byStage: ByStage) => stages.reduce((total, stage) => total + byStage[stage], 0);

// The turn that runs is not in the totals yet. What was shown as spent is never taken back.
function spentMs(device: DeviceActivity, runningMs: number, last?: ByStage): ByStage {
  const totals = totalMs(device);
  const now = stageOf(device);
  const spent = (stage: Stage) =>
    Math.max(totals[stage] + (stage === now ? Math.max(0, runningMs) : 0), last?.[stage] ?? 0);
  return byStage(spent);
}

const byStage = (value: (stage: Stage) => number): ByStage => ({
  evaluate: value("evaluate"),
  encode: value("encode"),
  decode: value("decode"),
  train: value("train"),
});

/**
 * How `part` grows while `whole` grows by one, at each sample, over `windowMs` before it. Null
 * where less than half of that is known, and where `whole` has not grown.
 */
export function slope(
  samples: readonly Sample[],
  part: (sample: Sample) => number,
  whole: (sample: Sample) => number,
  windowMs: number,
): (number | null)[] {
  return samples.map((sample, i) => {
    const earlier = samples.slice(0, i);
    const atLeast = (ms: number) => (known: Sample) => sample.timeMs - known.timeMs >= ms;
    const before = earlier.findLast(atLeast(windowMs)) ?? earlier.find(atLeast(windowMs / 2));
    if (before === undefined) return null;
    const grown = whole(sample) - whole(before);
    return grown > 0 ? (part(sample) - part(before)) / grown : null;
  });
}

/** The device's time between two samples: shares of it that add up to 1 at most. */
export function shares(before: Sample, after: Sample, device: string): ByStage {
  const [from, to] = [before.devices.get(device), after.devices.get(device)];
  if (from === undefined || to === undefined) return byStage(() => 0);
  const spent = byStage((stage) => to[stage] - from[stage]);
  const whole = Math.max(after.timeMs - before.timeMs, sum(spent));
  return byStage((stage) => spent[stage] / whole);
}

/** The samples of the last `lengthMs`, and the one before them where there is one. */
export function lastOf(samples: readonly Sample[], lengthMs: number): readonly Sample[] {
  const start = (samples.at(-1)?.timeMs ?? 0) - lengthMs;
  const first = samples.findLastIndex(({ timeMs }) => timeMs <= start);
  return samples.slice(Math.max(0, first));
}
