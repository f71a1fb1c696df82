// What the server does right now.
import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { useEffect } from "preact/hooks";
import {
  type ActivitySnapshot,
  DeviceActivity_Turn as Turn,
} from "../gen/denoised/v1/activity_pb.ts";
import { go } from "../request/address.ts";
import type { Problem } from "../rpc/problem.ts";
import { Notice } from "../ui/notice.tsx";
import { boards, followActivity, nowMs, problem, snapshot } from "./activity.ts";
import { DevicePanel } from "./device-panel.tsx";
import { LatencyTable } from "./latency-table.tsx";
import { Queue } from "./queue.tsx";
import { Throughput } from "./throughput.tsx";

export function LiveView() {
  useEffect(followWhileVisible, []);
  const latest = snapshot.value;
  return (
    <div class="live" data-stale={problem.value !== undefined}>
      <header>
        <h1>Live</h1>
        {latest && <Summary of={latest} />}
      </header>
      {problem.value && <Interruption problem={problem.value} latest={latest} />}
      {latest ? (
        <>
          <div class="devices">
            {latest.devices.map((device) => (
              <DevicePanel key={device.device} device={device} />
            ))}
          </div>
          <div class="gauges">
            <Throughput />
            <Queue of={latest} />
            <LatencyTable of={latest} />
          </div>
        </>
      ) : (
        !problem.value && <p class="loading">Asking the server what it does…</p>
      )}
    </div>
  );
}

// A stream takes one of the few connections that a browser opens to a server.
function followWhileVisible(): () => void {
  let leaving = new AbortController();
  const restart = () => {
    leaving.abort();
    leaving = new AbortController();
    if (!document.hidden) void followActivity(leaving.signal);
  };
  restart();
  document.addEventListener("visibilitychange", restart);
  return () => {
    document.removeEventListener("visibilitychange", restart);
    leaving.abort();
  };
}

function Interruption({ problem, latest }: { problem: Problem; latest?: ActivitySnapshot }) {
  // A server that drains is about to go away.
  const isLost = problem.connectionLost || problem.code === Code.Unavailable;
  if (!isLost || latest?.time === undefined)
    return (
      <Notice kind="error" title={problem.title}>
        {problem.message}
      </Notice>
    );
  return (
    <Notice kind="info" title="Connection lost">
      You see what the server did at {timestampDate(latest.time).toLocaleTimeString()}. The page
      tries again by itself.
    </Notice>
  );
}

// Between two generations that come one after the other, a device is idle for a moment.
const idleAfterMs = 2000;

function Summary({ of: { devices, queued } }: { of: ActivitySnapshot }) {
  const isIdle = devices.every(
    ({ turn, turnTime }) =>
      turn === Turn.IDLE && turnTime && nowMs.value - timestampMs(turnTime) >= idleAfterMs,
  );
  if (isIdle && queued === 0) return <NothingToDo />;
  const lanes = [...boards.value.values()].flat();
  const running = new Set(lanes.map(({ image }) => image.generation)).size;
  return (
    <p class="explanation">
      {running === 1 ? "1 generation" : `${running} generations`} in progress, {queued || "none"} in
      the queue
    </p>
  );
}

function NothingToDo() {
  return (
    <div class="empty">
      <p>
        <strong>Nothing to do.</strong> Generate an image, and its rows appear below while the
        server works on them.
      </p>
      <button type="button" class="primary" onClick={() => go({ view: "create" })}>
        Create an image
      </button>
    </div>
  );
}
