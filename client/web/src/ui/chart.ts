// What the charts on canvases share: the colours of the theme, axes, and their width.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export type Colour = (name: string) => string;

/** Looks up the colours of the theme. */
export function coloursOf(element: HTMLElement): Colour {
  const style = getComputedStyle(element);
  return (name) => style.getPropertyValue(name).trim();
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

/** A chart that fills the width of `element`. */
export function fill(
  element: HTMLElement,
  height: number,
  options: Omit<uPlot.Options, "width" | "height">,
  data: uPlot.AlignedData,
): uPlot {
  const size = () => ({ width: Math.max(100, element.clientWidth), height });
  const chart = new uPlot({ ...options, ...size() }, data, element);
  const resizing = new ResizeObserver(() => chart.setSize(size()));
  resizing.observe(element);
  (chart.hooks.destroy ??= []).push(() => resizing.disconnect());
  return chart;
}
