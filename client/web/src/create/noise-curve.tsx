// How much of x_t is signal and how much is noise, step by step, with the shown step marked.
import { effect, useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { moments, run, shownMoment, shownResult, shownStep } from "../generation/current.ts";
import { type Level, levels, planProblem } from "../request/plan.ts";
import { theme } from "../shell/theme.ts";
import { axis, type Colour, coloursOf, fill } from "../ui/chart.ts";

const heightPx = 150;

/** Shares of unit variance, so that every schedule fits into 0 to 1. */
const signalShare = ({ alpha, sigma }: Level) => alpha / Math.hypot(alpha, sigma);
const noiseShare = ({ alpha, sigma }: Level) => sigma / Math.hypot(alpha, sigma);

/** The step of the plan that is shown. Undefined: the shown picture is of another plan. */
function shownPlanStep(): number | undefined {
  const known = levels.value;
  const moment = shownMoment.value;
  if (known === undefined || moment === undefined) return undefined;
  if (shownResult.value) return known.length - 1;
  const expected = moment.step + (run.value?.accepted.value?.firstStep ?? 0);
  if (known[expected]?.timestep === moment.timestep) return expected;
  // RePaint goes back and takes steps again.
  const found = known.findIndex(({ timestep }) => timestep === moment.timestep);
  return found < 0 ? undefined : found;
}

export function NoiseCurve() {
  const place = useRef<HTMLDivElement>(null);
  const step = useComputed(shownPlanStep);
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    return effect(() => {
      const known = levels.value;
      const colour = coloursOf(element);
      return known && plot(element, known, () => step.value, colour);
    });
  }, [step, theme.value]); // a canvas does not follow the style sheet by itself
  return (
    <figure class="curve">
      <div ref={place} class="plot" role="img" aria-label={summary(levels.value)} />
      <figcaption class="number">
        <Legend step={step.value} />
      </figcaption>
    </figure>
  );
}

function summary(known: readonly Level[] | undefined): string {
  if (known === undefined) return "The noise curve: not known yet";
  const [first = 0, last = first] = [known[0], known.at(-1)].map(
    (level) => level && noiseShare(level),
  );
  return `Noise falls from ${first.toFixed(2)} to ${last.toFixed(2)} in ${known.length - 1} steps`;
}

function Legend({ step }: { step: number | undefined }) {
  const known = levels.value;
  const at = step ?? 0;
  const level = known?.[at];
  if (level === undefined)
    return (
      <>
        {planProblem.value
          ? "No curve: the sampler’s settings are invalid"
          : "Asking for the plan…"}
      </>
    );
  const logSnr = 2 * Math.log(level.alpha / level.sigma);
  return (
    <>
      <span>
        step {at} of {(known?.length ?? 1) - 1}
      </span>
      <span>
        t <b>{level.timestep === undefined ? "–" : Number(level.timestep.toFixed(2))}</b>
      </span>
      <span class="signal-text">
        signal α <b>{level.alpha.toFixed(3)}</b>
      </span>
      <span class="noise-text">
        noise σ <b>{level.sigma.toFixed(3)}</b>
      </span>
      <span>
        log SNR <b>{Number.isFinite(logSnr) ? logSnr.toFixed(2) : logSnr > 0 ? "∞" : "−∞"}</b>
      </span>
    </>
  );
}

/** Draws the curve into `element` and keeps the mark at `step`. Returns what takes it away. */
function plot(
  element: HTMLElement,
  known: readonly Level[],
  step: () => number | undefined,
  colour: Colour,
): () => void {
  const chart = fill(
    element,
    heightPx,
    {
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: { x: { time: false, range: [0, known.length - 1] }, y: { range: [0, 1.02] } },
      axes: [
        axis(colour, {
          values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")),
        }),
        axis(colour, { splits: [0, 0.5, 1], size: 34 }),
      ],
      series: [
        {},
        line("signal", colour("--signal"), known.length),
        line("noise", colour("--noise"), known.length),
      ],
      hooks: { draw: [(self) => drawMark(self, step(), colour("--ink"))] },
    },
    [known.map((_, i) => i), known.map(signalShare), known.map(noiseShare)],
  );
  const showClicked = () => {
    const index = chart.cursor.idx ?? 0;
    const first = run.peek()?.accepted.peek()?.firstStep ?? 0;
    shownStep.value = moments.peek().find((moment) => moment.step + first >= index)?.step;
  };
  chart.over.addEventListener("click", showClicked);
  const stopMarking = effect(() => {
    step();
    chart.redraw(false, false);
  });
  return () => {
    stopMarking();
    chart.destroy();
  };
}

const mostPoints = 60;

function line(label: string, colour: string, points: number): uPlot.Series {
  return {
    label,
    stroke: colour,
    fill: `${colour}14`, // nearly transparent
    width: 2,
    points: { show: points < mostPoints, size: 4 },
  };
}

function drawMark(chart: uPlot, step: number | undefined, colour: string): void {
  if (step === undefined) return;
  const x = Math.round(chart.valToPos(step, "x", true));
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio * 1.5;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}
