// How a device has spent the last minute, second by second: its stages stacked, and a legend that
// lights up the current one.
import type { DeviceActivity } from "../gen/denoised/v1/activity_pb.ts";
import { samples } from "./activity.ts";
import {
  type ByStage,
  lastOf,
  type Sample,
  shares,
  type Stage,
  stageOf,
  stages,
} from "./history.ts";

const spanMs = 60_000;

export function TimeShares({ device }: { device: DeviceActivity }) {
  const minute = lastOf(samples.value, spanMs);
  const [first, last] = [minute[0], minute.at(-1)];
  const total = first && last && first !== last ? shares(first, last, device.device) : undefined;
  const now = stageOf(device) ?? "idle";
  return (
    <figure class="time-shares">
      <svg
        viewBox={`0 0 ${spanMs} 1`}
        preserveAspectRatio="none"
        role="img"
        aria-label="Shares of the device’s time over the last minute"
      >
        <Strip minute={minute} device={device.device} />
      </svg>
      <figcaption>
        <ul>
          {[...stages, "idle" as const].map((stage) => (
            <li key={stage} data-stage={stage} data-now={stage === now}>
              {stage} <span class="number">{total && percent(total, stage)}</span>
            </li>
          ))}
        </ul>
        <span class="hint">last minute</span>
      </figcaption>
    </figure>
  );
}

function percent(total: ByStage, stage: Stage | "idle"): string {
  const busy = stages.reduce((sum, each) => sum + total[each], 0);
  const share = stage === "idle" ? Math.max(0, 1 - busy) : total[stage];
  return `${Math.round(100 * share)}%`;
}

function Strip({ minute, device }: { minute: readonly Sample[]; device: string }) {
  const paths: Record<Stage, string> = { evaluate: "", encode: "", decode: "", train: "" };
  const end = minute.at(-1)?.timeMs ?? 0;
  minute.forEach((after, i) => {
    const before = minute[i - 1];
    if (before === undefined) return;
    const [left, right] = [before, after].map(({ timeMs }) => spanMs - (end - timeMs));
    const column = shares(before, after, device);
    let bottom = 1;
    for (const stage of stages) {
      const top = bottom - column[stage];
      if (top < bottom) paths[stage] += `M${left},${bottom}V${top}H${right}V${bottom}z`;
      bottom = top;
    }
  });
  const known = spanMs - (end - (minute[0]?.timeMs ?? end));
  return (
    <>
      <path data-stage="idle" d={`M${known},0H${spanMs}V1H${known}z`} />
      {stages.map((stage) => (
        <path key={stage} data-stage={stage} d={paths[stage]} />
      ))}
    </>
  );
}
