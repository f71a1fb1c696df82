// The rows in a device's loop: a lane for each, and an image spans as many as it has rows.
import type { ActiveImage, DeviceActivity } from "../gen/denoised/v1/activity_pb.ts";
import { shortName } from "../models/catalog.ts";
import { boards } from "./activity.ts";
import { keyOf, type Lane, slotCount, slotsOfColumn } from "./lanes.ts";
import { GenerationLink } from "./links.tsx";

export function Batch({ device }: { device: DeviceActivity }) {
  const lanes = boards.value.get(device.device);
  if (lanes === undefined) return null;
  const slots = Array.from({ length: slotCount(lanes, device) }, (_, slot) => slot);
  const columnSlots = slotsOfColumn(device);
  return (
    <div class="batch">
      <div class="board" data-columns={slots.length > columnSlots ? 2 : 1}>
        <div class="slots" aria-hidden="true">
          {slots.map((slot) => (
            <span
              key={slot}
              data-extra={slot >= device.maxBatchRows}
              style={placeOf(slot, 1, columnSlots)}
            >
              {slot + 1}
            </span>
          ))}
        </div>
        <ul class="lanes" aria-label="Images in progress">
          {lanes.map((lane) => (
            <LaneItem key={keyOf(lane.image)} lane={lane} columnSlots={columnSlots} />
          ))}
        </ul>
      </div>
      {lanes.length > 0 && (
        <p class="hint">
          A lane is a row of the network’s batch. Bright lanes share the current turn; pale ones
          wait for theirs.
        </p>
      )}
    </div>
  );
}

/** For both arrangements, of which the style sheet chooses one. */
const placeOf = (slot: number, rows: number, columnSlots: number) => ({
  "--slot": slot + 1,
  "--rows": rows,
  "--row-of-two": (slot % columnSlots) + 1,
  "--column-of-two": Math.floor(slot / columnSlots) + 1,
});

function LaneItem({ lane, columnSlots }: { lane: Lane; columnSlots: number }) {
  const { image, slot, colour, inTurn } = lane;
  return (
    <li
      class="lane"
      data-generation={image.generation}
      data-in-turn={inTurn}
      data-rows={image.rows}
      style={{
        ...placeOf(slot, image.rows, columnSlots),
        "--lane": `var(--lane-${colour})`,
        "--done": image.evaluation / Math.max(1, image.evaluations),
      }}
    >
      <span class="who">
        <GenerationLink name={image.generation} />
        {image.imageIndex > 0 && <span class="hint"> {image.imageIndex + 1}</span>}
      </span>
      <span class="what">
        {shortName(image.model)}
        <span class="size">
          {image.width} × {image.height}
        </span>
        {image.rows > 1 && <span class="size">{image.rows} rows</span>}
      </span>
      <Place of={image} />
    </li>
  );
}

function Place({ of: image }: { of: ActiveImage }) {
  return (
    <span class="place number">
      <span>
        <span class="hidden">evaluation </span>
        {image.evaluation} / {image.evaluations}
      </span>
      <span class="timestep">
        {image.timestep !== undefined && <>t {Number(image.timestep.toFixed(1))}</>}
      </span>
    </span>
  );
}
