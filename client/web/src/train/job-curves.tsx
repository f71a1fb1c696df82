// What a job has reported, step by step: the loss, and below it the learning rate and the pace.
import { useComputed, useSignal } from "@preact/signals";
import type { TrainingProgress } from "../gen/denoised/v1/training_pb.ts";
import { significant, whole } from "../ui/units.ts";
import { Curve } from "./curve.tsx";
import type { JobWatch } from "./job-watch.ts";
import { smooth } from "./smooth.ts";

interface JobCurvesProps {
  watch: JobWatch;
  /** The step whose samples are shown. */
  shownStep: () => number | undefined;
  onPick: (step: number) => void;
}

export function JobCurves({ watch, shownStep, onPick }: JobCurvesProps) {
  const smoothing = useSignal(0.9);
  const steps = useComputed(() => valuesOf(watch, ({ step }) => Number(step)));
  const losses = useComputed(() => valuesOf(watch, ({ loss }) => finite(loss)));
  const smoothed = useComputed(() => smooth(losses.value, smoothing.value));
  const rates = useComputed(() => valuesOf(watch, ({ learningRate }) => learningRate));
  const paces = useComputed(() => valuesOf(watch, ({ picturesPerSecond }) => picturesPerSecond));
  const hovered = useSignal<number | undefined>(undefined);
  const latest = watch.progress.value;
  const loss = smoothed.value.at(-1);
  return (
    <section class="curves" aria-label="Progress" data-points={steps.value.length}>
      <header>
        <h2>Loss</h2>
        <label class="smoothing">
          Smoothing
          <input
            type="range"
            min="0"
            max="0.99"
            step="0.01"
            value={smoothing.value}
            onInput={(event) => (smoothing.value = Number(event.currentTarget.value))}
          />
        </label>
      </header>
      <Curve
        heightPx={300}
        lines={[
          { label: "loss", colour: "--line-strong", width: 1 },
          { label: "smoothed", colour: "--signal", width: 2 },
        ]}
        data={() => [steps.value, losses.value, smoothed.value]}
        label={summary(steps.value.length, loss)}
        mark={shownStep}
        onPick={onPick}
        onHover={(index) => (hovered.value = index)}
      />
      <Legend
        progress={watch.history[hovered.value ?? -1] ?? latest}
        smoothed={smoothed.value.at(hovered.value ?? -1)}
      />
      <div class="small-curves">
        <div>
          <h3>
            Learning rate <b class="number">{valueOf(latest?.learningRate)}</b>
          </h3>
          <Curve
            heightPx={100}
            fromZero
            lines={[{ label: "learning rate", colour: "--noise", width: 1.5 }]}
            data={() => [steps.value, rates.value]}
            label="The learning rate"
          />
        </div>
        <div>
          <h3>
            Images per second <b class="number">{valueOf(latest?.picturesPerSecond)}</b>
          </h3>
          <Curve
            heightPx={100}
            fromZero
            lines={[{ label: "images per second", colour: "--noise", width: 1.5 }]}
            data={() => [steps.value, paces.value]}
            label="Images per second of device time"
          />
        </div>
      </div>
    </section>
  );
}

function summary(reports: number, smoothed: number | null | undefined): string {
  return `The loss of ${reports} reports; smoothed, it is now ${valueOf(smoothed)}`;
}

interface LegendProps {
  /** The report under the pointer, or the latest. */
  progress: TrainingProgress | undefined;
  smoothed: number | null | undefined;
}

function Legend({ progress, smoothed }: LegendProps) {
  return (
    <p class="legend number">
      <span>
        step <b>{whole(progress?.step ?? 0)}</b>
      </span>
      <span>
        loss <b>{valueOf(progress?.loss)}</b>
      </span>
      <span class="signal-text">
        smoothed <b>{valueOf(smoothed)}</b>
      </span>
      <span>
        gradient norm <b>{valueOf(progress?.gradientNorm)}</b>
      </span>
      <span>
        epoch <b>{valueOf(progress?.epochs)}</b>
      </span>
    </p>
  );
}

const valueOf = (value: number | null | undefined) => (value == null ? "–" : significant(value));

function valuesOf<Value>(watch: JobWatch, value: (progress: TrainingProgress) => Value): Value[] {
  return watch.revision.value < 0 ? [] : watch.history.map(value);
}

// A gap in the curve.
const finite = (value: number) => (Number.isFinite(value) ? value : null);
