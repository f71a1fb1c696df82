// How far a job is.
import {
  type TrainingJob,
  TrainingJob_State,
  type TrainingProgress,
} from "../gen/denoised/v1/training_pb.ts";
import { duration, significant, whole } from "../ui/units.ts";
import { hasEnded } from "./jobs.ts";

interface JobProgressProps {
  job: TrainingJob;
  /** The latest that is known; absent before the first step. */
  progress: TrainingProgress | undefined;
}

export function JobProgress({ job, progress }: JobProgressProps) {
  const done = progress && progress.step > job.stepsDone ? progress.step : job.stepsDone;
  return (
    <div class="job-progress">
      <progress
        class="progress"
        max={Number(job.stepsTotal) || 1}
        value={Number(done)}
        aria-label="Steps done"
      />
      <p class="number">{describe(job, done, progress)}</p>
    </div>
  );
}

function describe(
  { state, stepsTotal, work, stateReason }: TrainingJob,
  done: bigint,
  progress: TrainingProgress | undefined,
): string {
  const things = work.case === "evaluation" ? "pictures" : "steps";
  const running = state === TrainingJob_State.RUNNING;
  return [
    hasEnded(state) && done === stepsTotal
      ? `${whole(done)} ${things}`
      : `${whole(done)} of ${whole(stepsTotal)} ${things}`,
    running && progress?.timeLeft ? `${duration(progress.timeLeft)} left` : "",
    progress && Number.isFinite(progress.loss) ? `loss ${significant(progress.loss)}` : "",
    stateReason,
  ]
    .filter((part) => part !== "")
    .join(" · ");
}
