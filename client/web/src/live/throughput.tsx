// How much the server gets done: rates over the last two minutes.
import { useComputed, useSignal } from "@preact/signals";
import { snapshot, samples } from "./activity.ts";
import { RateChart } from "./rate-chart.tsx";
import { type Sample, slope } from "./history.ts";

const seconds = ({ timeMs }: Sample) => timeMs / 1000;
const minutes = ({ timeMs }: Sample) => timeMs / 60_000;
const evaluations = (sample: Sample) => sample.evaluations;

// Images are rarer than evaluations: their rate needs a longer look.
const shortMs = 5000;
const longMs = 30_000;

export function Throughput() {
  // The sample that the pointer is on, in all charts. Undefined: the latest is told.
  const pointed = useSignal<number | undefined>(undefined);
  const evaluationRate = useComputed(() => slope(samples.value, evaluations, seconds, shortMs));
  const rowsPerEvaluation = useComputed(() =>
    slope(samples.value, ({ rows }) => rows, evaluations, shortMs),
  );
  const imageRate = useComputed(() =>
    slope(samples.value, ({ images }) => images, minutes, longMs),
  );
  const maxRows = Math.max(0, ...(snapshot.value?.devices ?? []).map((d) => d.maxBatchRows));
  const latest = samples.value.at(-1);
  return (
    <section class="throughput" aria-label="Throughput">
      <RateChart
        title="Evaluations per second"
        total={latest && `${latest.evaluations.toLocaleString("en")} in all`}
        values={evaluationRate}
        pointed={pointed}
      />
      <RateChart
        title="Rows per evaluation"
        total={`of ${maxRows}`}
        values={rowsPerEvaluation}
        highest={maxRows}
        pointed={pointed}
      />
      <RateChart
        title="Images per minute"
        total={latest && `${latest.images.toLocaleString("en")} in all`}
        values={imageRate}
        pointed={pointed}
      />
    </section>
  );
}
