// A rate over the last two minutes, and in figures: the latest, or the one that is pointed at.
import { type ReadonlySignal, type Signal, effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { theme } from "../shell/theme.ts";
import { axis, type Colour, coloursOf, drawChart } from "../ui/chart.ts";
import { samples } from "./activity.ts";

interface RateChartProps {
  title: string;
  /** Beside the figure. */
  total: string | undefined;
  /** One for each sample. */
  values: ReadonlySignal<(number | null)[]>;
  /** The end of the scale. Undefined: what the values need. */
  highest?: number;
  pointed: Signal<number | undefined>;
}

const heightPx = 84;
const spanSeconds = 120;

export function RateChart({ title, total, values, highest, pointed }: RateChartProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const { chart, remove } = draw(element, coloursOf(element), highest, pointed);
    const stop = effect(() => chart.setData([secondsAgo(), values.value]));
    return () => {
      stop();
      remove();
    };
  }, [highest, theme.value]); // a canvas does not follow the style sheet by itself
  const at = pointed.value ?? values.value.length - 1;
  const value = values.value[at];
  const ago = pointed.value === undefined ? 0 : (secondsAgo()[at] ?? 0);
  return (
    <figure>
      <figcaption>
        <h2>{title}</h2>
        <span class="hint number">{ago === 0 ? total : `${Math.round(-ago)} s ago`}</span>
        <output class="number">{typeof value === "number" ? figure(value) : "–"}</output>
      </figcaption>
      <div ref={place} class="plot" role="img" aria-label={`${title} over the last two minutes`} />
    </figure>
  );
}

/** Of every sample, as negative numbers. */
function secondsAgo(): number[] {
  const end = samples.value.at(-1)?.timeMs ?? 0;
  return samples.value.map(({ timeMs }) => (timeMs - end) / 1000);
}

const figure = (value: number) => (value < 99.95 ? value.toFixed(1) : value.toFixed(0));

function draw(
  element: HTMLElement,
  colour: Colour,
  highest: number | undefined,
  pointed: Signal<number | undefined>,
) {
  const tell = ({ cursor: { idx, left } }: uPlot) => {
    pointed.value = left === undefined || left < 0 ? undefined : (idx ?? undefined);
  };
  return drawChart(
    element,
    {
      height: heightPx,
      cursor: {
        drag: { x: false, y: false },
        y: false,
        points: { size: 6 },
        sync: { key: "live" },
      },
      scales: {
        x: { time: false, range: [-spanSeconds, 0] },
        y: { range: (_, __, most) => [0, highest ?? niceMost(most)] },
      },
      axes: [
        axis(colour, {
          splits: [-120, -90, -60, -30, 0],
          values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "now" : `−${-tick} s`)),
        }),
        axis(colour, { splits: (_, __, ___, most) => [0, most / 2, most], size: 40 }),
      ],
      series: [
        {},
        {
          stroke: colour("--signal"),
          fill: `${colour("--signal")}1f`, // nearly transparent
          width: 1.75,
          points: { show: false },
        },
      ],
      hooks: { setCursor: [tell] },
    },
    [[], []],
  );
}

/** The next of 1, 2, 4, 10, 20, 40, ... above `most`. */
function niceMost(most: number | null): number {
  const wanted = Math.max(1, most ?? 0);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * ([1, 2, 4].find((digit) => digit * power >= wanted) ?? 10);
}
