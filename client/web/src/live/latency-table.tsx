// How long callers have waited lately.
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { ActivitySnapshot, Latency } from "../gen/denoised/v1/activity_pb.ts";
import { spellMs } from "./duration.ts";

export function LatencyTable({ of }: { of: ActivitySnapshot }) {
  return (
    <section class="latency" aria-label="Latency">
      <header>
        <h2>Latency</h2>
        <span class="hint">last five minutes</span>
      </header>
      <table>
        <thead>
          <tr>
            <td />
            <th scope="col">p50</th>
            <th scope="col">p95</th>
            <th scope="col">p99</th>
            <th scope="col">count</th>
          </tr>
        </thead>
        <tbody>
          <Quantiles name="Queue wait" of={of.queueWait} />
          <Quantiles name="First frame" of={of.firstFrame} />
          <Quantiles name="Request" of={of.request} />
        </tbody>
      </table>
    </section>
  );
}

function Quantiles({ name, of }: { name: string; of: Latency | undefined }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <Quantile of={of?.p50} />
      <Quantile of={of?.p95} />
      <Quantile of={of?.p99} />
      <td class="number hint">{of?.samples ?? 0}</td>
    </tr>
  );
}

function Quantile({ of }: { of: Duration | undefined }) {
  return <td class="number">{of ? spellMs(durationMs(of)) : "–"}</td>;
}
