// The way through pictures that were made one after the other: a slider, and a button that plays
// them.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

interface ScrubberProps {
  /** The greatest position; the least is 0. */
  last: number;
  position: number;
  /** What is at `position`, in words. */
  text: string;
  label: string;
  playLabel: string;
  framesPerSecond: number;
  disabled: boolean;
  onShow: (position: number) => void;
}

export function Scrubber({
  last,
  position,
  text,
  label,
  playLabel,
  framesPerSecond,
  disabled,
  onShow,
}: ScrubberProps) {
  const playing = useSignal(false);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => {
      onShow(Math.min(last, position + 1));
      if (position + 1 >= last) playing.value = false;
    }, 1000 / framesPerSecond);
    return () => clearTimeout(timer);
  }, [playing.value, position, last, framesPerSecond]);
  return (
    <div class="scrubber">
      <button
        type="button"
        disabled={disabled}
        aria-label={playing.value ? "Pause" : playLabel}
        onClick={() => {
          if (!playing.value) onShow(0);
          playing.value = !playing.value;
        }}
      >
        <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
          <path class="glyph" d={playing.value ? "M4 3h3v10H4zM9 3h3v10H9z" : "M4 2.5v11l9-5.5z"} />
        </svg>
      </button>
      <input
        type="range"
        min="0"
        max={last}
        value={position}
        disabled={disabled}
        aria-label={label}
        aria-valuetext={text}
        onInput={(event) => {
          playing.value = false;
          onShow(Number(event.currentTarget.value));
        }}
      />
      <output class="number">{text}</output>
    </div>
  );
}
