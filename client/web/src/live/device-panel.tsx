// What one device does: its turn, how it spends its time, and the rows in its loop.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type DeviceActivity,
  DeviceActivity_Turn as Turn,
} from "../gen/denoised/v1/activity_pb.ts";
import { nowMs } from "./activity.ts";
import { Batch } from "./batch.tsx";
import { spellAge } from "./duration.ts";
import { TrainingJobLink } from "./links.tsx";
import { TimeShares } from "./time-shares.tsx";

export function DevicePanel({ device }: { device: DeviceActivity }) {
  const { activeRows, maxActiveRows } = device;
  return (
    <section
      class="device"
      aria-label={`Device ${device.device}`}
      data-turn={Turn[device.turn].toLowerCase()}
    >
      <header>
        <h2>{device.device}</h2>
        <p class="headline">
          <Doing device={device} />
        </p>
        <p class="hint number">
          {activeRows} of {maxActiveRows} rows active
        </p>
      </header>
      <TimeShares device={device} />
      <Batch device={device} />
    </section>
  );
}

function Doing({ device }: { device: DeviceActivity }) {
  const rows = device.images.reduce((sum, image) => sum + image.rows, 0);
  switch (device.turn) {
    case Turn.EVALUATE:
      return (
        <>
          Evaluates <span class="number">{rows}</span> of {device.maxBatchRows} rows
          <Since device={device} />
        </>
      );
    case Turn.ENCODE:
      return (
        <>
          Encodes prompts and pictures
          <Since device={device} />
        </>
      );
    case Turn.DECODE:
      return (
        <>
          Decodes a finished image
          <Since device={device} />
        </>
      );
    case Turn.TRAIN:
      return (
        <>
          Trains{" "}
          {device.trainingJob === "" ? "a job" : <TrainingJobLink name={device.trainingJob} />}
          <Since device={device} />
        </>
      );
    case Turn.MEASURE:
      return (
        <>
          Measures how fast a new model runs
          <Since device={device} />
        </>
      );
    case Turn.FAILED:
      return (
        <>
          Has failed: restart the server
          <Since device={device} />
        </>
      );
    default:
      return (
        <>
          Idle
          <Since device={device} />
        </>
      );
  }
}

/** How long the turn has lasted, once that can be read. */
function Since({ device: { turnTime } }: { device: DeviceActivity }) {
  const ms = turnTime ? nowMs.value - timestampMs(turnTime) : 0;
  return ms < 1000 ? null : <span class="hint"> for {spellAge(ms)}</span>;
}
