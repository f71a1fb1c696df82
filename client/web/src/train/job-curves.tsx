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
        label={`The loss of ${steps.value.length} reports${loss == null ? "" : `, smoothed now ${significant(loss)}`}`}
        mark={shownStep}
        onPick={onPick}
      />
      <p class="legend number">
        <span>
          step <b>{whole(latest?.step ?? 0)}</b>
        </span>
        <span>
          loss <b>{significant(latest?.loss ?? NaN)}</b>
        </span>
        <span class="signal-text">
          smoothed <b>{significant(loss ?? NaN)}</b>
        </span>
        <span>
          gradient norm <b>{significant(latest?.gradientNorm ?? NaN)}</b>
        </span>
        <span>
          epoch <b>{significant(latest?.epochs ?? 0)}</b>
        </span>
      </p>
      <div class="small-curves">
        <div>
          <h3>
            Learning rate <b class="number">{significant(latest?.learningRate ?? NaN)}</b>
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
            Images per second <b class="number">{significant(latest?.picturesPerSecond ?? NaN)}</b>
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

function valuesOf<Value>(watch: JobWatch, value: (progress: TrainingProgress) => Value): Value[] {
  return watch.revision.value < 0 ? [] : watch.history.map(value);
}

// A gap in the curve.
const finite = (value: number) => (Number.isFinite(value) ? value : null);
