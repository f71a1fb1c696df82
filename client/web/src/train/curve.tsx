// A curve over the steps of a job that grows while it is looked at.
import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { theme } from "../shell/theme.ts";
import { axis, type Colour, coloursOf, drawChart, drawMark } from "../ui/chart.ts";
import { significant } from "../ui/units.ts";

interface Line {
  label: string;
  /** A custom property of the style sheet. */
  colour: string;
  width: number;
}

interface CurveProps {
  lines: Line[];
  /** The steps, then the values of each line. Reads signals, so that the curve follows them. */
  data: () => uPlot.AlignedData;
  heightPx: number;
  /** The y axis begins at 0. */
  fromZero?: boolean;
  /** Says what the curve shows. */
  label: string;
  /** A step to mark. Reads signals. */
  mark?: () => number | undefined;
  /** Somebody has clicked on this step. */
  onPick?: (step: number) => void;
  /** The pointer is over this report, the first of which is 0. Undefined: it is elsewhere. */
  onHover?: (index: number | undefined) => void;
}

// With more, points would hide the line; with one, there is no line yet.
const mostPoints = 60;

export function Curve({ label, ...curve }: CurveProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (place.current) return draw(place.current, curve);
  }, [theme.value]); // a canvas does not follow the style sheet by itself
  return <div ref={place} class="plot" role="img" aria-label={label} />;
}

function draw(element: HTMLElement, curve: Omit<CurveProps, "label">): () => void {
  const colour = coloursOf(element);
  const { chart, remove } = drawChart(element, optionsOf(curve, colour), curve.data());
  const stopGrowing = effect(() => chart.setData(curve.data()));
  const stopMarking = effect(() => {
    curve.mark?.();
    if (chart.data[0].length > 0) chart.redraw(false, true);
  });
  chart.over.addEventListener("click", () => {
    const step = chart.data[0][chart.cursor.idx ?? 0];
    if (step !== undefined) curve.onPick?.(step);
  });
  return () => {
    stopGrowing();
    stopMarking();
    remove();
  };
}

function optionsOf(
  { lines, heightPx, fromZero, mark, onHover }: Omit<CurveProps, "label">,
  colour: Colour,
): Omit<uPlot.Options, "width"> {
  return {
    height: heightPx,
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 } },
    scales: {
      x: { time: false },
      y: fromZero ? { range: (_, __, max) => [0, max > 0 ? 1.1 * max : 1] } : {},
    },
    axes: [
      axis(colour, {
        values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")),
      }),
      axis(colour, { size: 52, space: 22, values: (_, ticks) => ticks.map(significant) }),
    ],
    series: [
      {},
      ...lines.map(({ label, width, ...line }) => ({
        label,
        width,
        stroke: colour(line.colour),
        points: { show: ({ data }: uPlot) => data[0].length < mostPoints, size: 4 },
      })),
    ],
    hooks: {
      draw: [(chart) => drawMark(chart, mark?.(), colour("--ink"))],
      setCursor: [({ cursor }) => onHover?.(cursor.idx ?? undefined)],
    },
  };
}
