// The way through the frames: step by step, and at the end the finished image.
import { moments, run, shownMoment, shownStep } from "../generation/current.ts";
import { Scrubber } from "../ui/scrubber.tsx";

const framesPerSecond = 12;

export function StepScrubber() {
  const count = moments.value.length;
  const position =
    shownStep.value === undefined
      ? count
      : moments.value.findIndex((moment) => moment === shownMoment.value);
  const last =
    count === 0 ? "no step" : run.value?.state.value === "succeeded" ? "finished" : "latest";
  return (
    <Scrubber
      last={count}
      position={position}
      text={position === count ? last : `step ${shownMoment.value?.step ?? 0}`}
      label="Step"
      playLabel="Play all steps"
      framesPerSecond={framesPerSecond}
      disabled={count === 0}
      // Behind the last moment is what comes or came last.
      onShow={(next) => (shownStep.value = moments.peek()[next]?.step)}
    />
  );
}
