// The way through the frames: step by step, and at the end the finished image.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { moments, run, shownMoment, shownStep } from "../generation/current.ts";

const playFramesPerSecond = 12;

/** Shows the moment at `position` of `moments`. Behind the last one is what comes or came last. */
function showPosition(position: number) {
  shownStep.value = moments.peek()[position]?.step;
}

export function Scrubber() {
  const playing = useSignal(false);
  const count = moments.value.length;
  const position =
    shownStep.value === undefined
      ? count
      : moments.value.findIndex((moment) => moment === shownMoment.value);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => {
      const next =
        (shownStep.peek() === undefined
          ? 0
          : moments.peek().findIndex((m) => m.step === shownStep.peek())) + 1;
      showPosition(next);
      if (next >= moments.peek().length) playing.value = false;
    }, 1000 / playFramesPerSecond);
    return () => clearInterval(timer);
  }, [playing.value]);
  const last =
    count === 0 ? "no step" : run.value?.state.value === "succeeded" ? "finished" : "latest";
  return (
    <div class="scrubber">
      <button
        type="button"
        disabled={count === 0}
        aria-label={playing.value ? "Pause" : "Play all steps"}
        onClick={() => {
          if (!playing.value) showPosition(0);
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
        max={count}
        value={position}
        disabled={count === 0}
        aria-label="Step"
        aria-valuetext={position === count ? last : `step ${shownMoment.value?.step ?? 0}`}
        onInput={(event) => {
          playing.value = false;
          showPosition(Number(event.currentTarget.value));
        }}
      />
      <output class="number">
        {position === count ? last : `step ${shownMoment.value?.step ?? 0}`}
      </output>
    </div>
  );
}
