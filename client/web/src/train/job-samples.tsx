// The samples that a job has made of the same noise, from its first steps to its latest.
import type { Signal } from "@preact/signals";
import { many } from "../ui/units.ts";
import { Scrubber } from "../ui/scrubber.tsx";
import { download } from "../ui/download.ts";
import { shortName } from "../models/catalog.ts";
import type { Grid, JobWatch } from "./job-watch.ts";
import { Sheet } from "./sheet.tsx";

interface JobSamplesProps {
  watch: JobWatch;
  /** The step whose samples are shown. Undefined: the latest. */
  shownStep: Signal<number | undefined>;
}

const framesPerSecond = 4;

export function JobSamples({ watch, shownStep }: JobSamplesProps) {
  const grids = gridsOf(watch);
  const last = grids.length - 1;
  const found = grids.findIndex(({ step }) => step === shownStep.value);
  const position = found < 0 ? last : found;
  const grid = grids[position];
  return (
    <section class="samples" aria-label="Samples" data-grids={grids.length} data-step={grid?.step}>
      <header>
        <h2>Samples</h2>
        {grid && (
          <button
            type="button"
            class="quiet small"
            onClick={() => download(grid.blob, `${shortName(watch.name)}-step-${grid.step}.png`)}
          >
            Download
          </button>
        )}
      </header>
      {grid === undefined ? (
        <p class="explanation samples-place">{whyNone(watch)}</p>
      ) : (
        <Sheet blob={grid.blob} width={grid.width} label={`Samples of step ${grid.step}`} />
      )}
      <Scrubber
        last={Math.max(0, last)}
        position={Math.max(0, position)}
        text={grid ? `step ${grid.step}` : "none yet"}
        label="Samples of step"
        playLabel="Play all samples"
        framesPerSecond={framesPerSecond}
        disabled={grids.length === 0}
        onShow={(next) => (shownStep.value = next === last ? undefined : grids[next]?.step)}
      />
    </section>
  );
}

/** Those so far, by step. */
export const gridsOf = (watch: JobWatch): readonly Grid[] =>
  watch.revision.value < 0 ? [] : watch.grids;

/** The grid whose step is nearest to `step`. */
export function nearestGrid(watch: JobWatch, step: number): Grid | undefined {
  return nearest(gridsOf(watch), step);
}

export function nearest<Item extends { step: number | bigint }>(
  items: readonly Item[],
  step: number,
): Item | undefined {
  const distance = (item: Item) => Math.abs(Number(item.step) - step);
  return items.reduce<Item | undefined>(
    (best, item) => (best === undefined || distance(item) < distance(best) ? item : best),
    undefined,
  );
}

function whyNone(watch: JobWatch): string {
  const work = watch.job.value?.work;
  const every = work?.case === "training" ? work.value.samples?.everyNSteps : undefined;
  if (every === 0n) return "This job makes no samples.";
  return every === undefined
    ? "Samples appear here."
    : `Samples appear here every ${many(every, "step")}, made of the same noise each time.`;
}
