// Curves on a canvas, in the colours of the theme.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** The value of a custom property of the style sheet. */
export type Colour = (name: string) => string;

/** Looks up the colours of the theme. */
export function coloursOf(element: HTMLElement): Colour {
  const style = getComputedStyle(element);
  return (name) => style.getPropertyValue(name).trim();
}

/**
 * Draws a chart as wide as `element` into it, and keeps it so until `remove` is called. The canvas
 * never makes `element` wider: it could not follow a window that gets narrower.
 */
export function drawChart(
  element: HTMLElement,
  options: Omit<uPlot.Options, "width">,
  data: uPlot.AlignedData,
): { chart: uPlot; remove: () => void } {
  const { height } = options;
  const width = () => Math.max(100, element.clientWidth);
  const legend = { show: false };
  element.style.contain = "inline-size";
  const chart = new uPlot({ legend, ...options, width: width() }, data, element);
  const resizing = new ResizeObserver(() => chart.setSize({ width: width(), height }));
  resizing.observe(element);
  return {
    chart,
    remove: () => {
      resizing.disconnect();
      chart.destroy();
    },
  };
}

export function axis(colour: Colour, other: uPlot.Axis): uPlot.Axis {
  const line = { stroke: colour("--line"), width: 1 };
  return {
    stroke: colour("--muted"),
    font: `11px ${colour("--mono")}`,
    grid: line,
    ticks: { ...line, size: 4 },
    size: 26,
    gap: 4,
    ...other,
  };
}

/** A vertical line at `at` on the x axis. */
export function drawMark(chart: uPlot, at: number | undefined, colour: string): void {
  if (at === undefined) return;
  const x = Math.round(chart.valToPos(at, "x", true));
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
