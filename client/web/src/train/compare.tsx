// Two moments of a job side by side: their samples, and the numbers of the nearest evaluations.
import { address, go } from "../request/address.ts";
import { gridsOf, nearest, nearestGrid } from "./job-samples.tsx";
import type { JobWatch } from "./job-watch.ts";
import { Measures } from "./evaluation.tsx";
import { Sheet } from "./sheet.tsx";

// The setting of the address that holds the two steps: "500,1000".
const path = "compare";

export function Compare({ watch }: { watch: JobWatch }) {
  const steps = comparableSteps(watch);
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined || first === last) return null;
  const chosen = address.value.settings[path]?.split(",").map(Number);
  const show = (pair: readonly number[] | undefined) =>
    go({ settings: pair ? { [path]: pair.join(",") } : {} }, { replace: true });
  return (
    <section class="compare" aria-label="Compare">
      <header>
        <h2>Compare</h2>
        <button
          type="button"
          class="quiet small"
          onClick={() => show(chosen ? undefined : [first, last])}
        >
          {chosen ? "Close" : "Compare two steps"}
        </button>
      </header>
      {chosen && <Pair watch={watch} pair={chosen} steps={steps} onChange={show} />}
    </section>
  );
}

// Of the checkpoints that are kept and of the samples.
function comparableSteps(watch: JobWatch): number[] {
  const checkpoints = watch.checkpoints.value.map(({ step }) => Number(step));
  const all = new Set([...checkpoints, ...gridsOf(watch).map(({ step }) => step)]);
  return [...all].sort((a, b) => a - b);
}

interface PairProps {
  watch: JobWatch;
  pair: readonly number[];
  steps: readonly number[];
  onChange: (pair: readonly number[]) => void;
}

function Pair({ watch, pair, steps, onChange }: PairProps) {
  const results = pair.map((step) => nearest(watch.evaluations, step));
  return (
    <>
      <div class="pair">
        {pair.map((step, side) => (
          <Side
            key={side}
            watch={watch}
            step={step}
            steps={steps}
            label={side === 0 ? "Left step" : "Right step"}
            onChange={(next) => onChange(pair.map((old, i) => (i === side ? next : old)))}
          />
        ))}
      </div>
      {results.some((result) => result) && (
        <Measures
          results={results.map((result) => ({ title: `step ${result?.step ?? "–"}`, result }))}
        />
      )}
    </>
  );
}

interface SideProps {
  watch: JobWatch;
  step: number;
  steps: readonly number[];
  label: string;
  onChange: (step: number) => void;
}

function Side({ watch, step, steps, label, onChange }: SideProps) {
  const grid = nearestGrid(watch, step);
  const kept = new Set(watch.checkpoints.value.map((checkpoint) => Number(checkpoint.step)));
  return (
    <figure>
      <select
        aria-label={label}
        value={step}
        onChange={(event) => onChange(Number(event.currentTarget.value))}
      >
        {!steps.includes(step) && <option value={step}>step {step}</option>}
        {steps.map((one) => (
          <option key={one} value={one}>
            step {one}
            {kept.has(one) ? ", checkpoint" : ""}
          </option>
        ))}
      </select>
      {grid && (
        <Sheet
          blob={grid.blob}
          width={grid.width}
          label={`${label}: samples of step ${grid.step}`}
        />
      )}
      <figcaption class="number">{grid ? `samples of step ${grid.step}` : "no samples"}</figcaption>
    </figure>
  );
}
