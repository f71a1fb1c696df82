// The generations that wait for a device, in their order.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ActivitySnapshot, QueuedGeneration } from "../gen/denoised/v1/activity_pb.ts";
import { shortName } from "../models/catalog.ts";
import { nowMs } from "./activity.ts";
import { spellAge } from "./duration.ts";
import { GenerationLink } from "./links.tsx";

export function Queue({ of: { queue, queued, maxQueued } }: { of: ActivitySnapshot }) {
  return (
    <section class="queue" aria-label="Queue">
      <header>
        <h2>Queue</h2>
        <span class="hint number">
          {queued} of {maxQueued}
        </span>
      </header>
      <div class="fullness" style={{ "--full": queued / Math.max(1, maxQueued) }} />
      {queue.length === 0 && <p class="explanation">No generation waits for a device.</p>}
      <ol>
        {queue.map((waiting) => (
          <Waiting key={waiting.generation} of={waiting} />
        ))}
      </ol>
      {queued > queue.length && <p class="hint">and {queued - queue.length} more</p>}
    </section>
  );
}

function Waiting({
  of: { generation, model, count, steps, createTime },
}: {
  of: QueuedGeneration;
}) {
  return (
    <li data-generation={generation}>
      <span class="who">
        <GenerationLink name={generation} />
      </span>
      <span class="age number">
        {createTime && spellAge(nowMs.value - timestampMs(createTime))}
      </span>
      <span class="what">
        {shortName(model)} · {count === 1 ? "1 image" : `${count} images`} ·{" "}
        {steps === 1 ? "1 step" : `${steps} steps`}
      </span>
    </li>
  );
}
