// A job, live: how far it is, what it has learned so far, and what can be done with it.
import { Code } from "@connectrpc/connect";
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { type TrainingJob, TrainingJob_State } from "../gen/denoised/v1/training_pb.ts";
import { shortName } from "../models/catalog.ts";
import { go } from "../request/address.ts";
import { training } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { ConfirmButton } from "../ui/confirm-button.tsx";
import { Notice } from "../ui/notice.tsx";
import { BackLink } from "./back-link.tsx";
import { Checkpoints } from "./checkpoints.tsx";
import { Compare } from "./compare.tsx";
import { Evaluation } from "./evaluation.tsx";
import { JobCurves } from "./job-curves.tsx";
import { JobLog } from "./job-log.tsx";
import { JobProgress } from "./job-progress.tsx";
import { JobSamples, nearestGrid } from "./job-samples.tsx";
import { JobSettings } from "./job-settings.tsx";
import { JobWatch } from "./job-watch.ts";
import { datasetOf, hasEnded, refreshJobs, stateWord, titleOf } from "./jobs.ts";

export function JobPage({ name }: { name: string }) {
  const watch = useMemo(() => new JobWatch(name), [name]);
  useEffect(() => () => watch.leave(), [watch]);
  const job = watch.job.value;
  return (
    <div class="job" data-job={name} data-state={stateWord(watch.state)}>
      <BackLink />
      {job === undefined ? (
        <>
          <h1>Job {shortName(name)}</h1>
          <WhyNot watch={watch} />
        </>
      ) : (
        <>
          <header class="train-header">
            <div>
              <h1>{titleOf(job)}</h1>
              <p class="number">
                <span class="dot" data-state={stateWord(job.state)} role="status">
                  {stateWord(job.state)}
                </span>{" "}
                on {datasetOf(job)}
              </p>
            </div>
            <Actions watch={watch} job={job} />
          </header>
          <JobProgress job={job} progress={watch.progress.value} />
          <Waiting watch={watch} />
          {job.work.case === "training" && <Learning watch={watch} />}
          {job.work.case === "evaluation" && job.evaluationResult && (
            <Evaluation result={job.evaluationResult} />
          )}
          <div class="overview">
            {job.work.case === "training" && <Checkpoints watch={watch} job={job} />}
            <JobLog watch={watch} />
          </div>
          <JobSettings job={job} />
        </>
      )}
    </div>
  );
}

function WhyNot({ watch }: { watch: JobWatch }) {
  const problem = watch.problem.value ?? watch.waiting.value;
  if (problem === undefined) return <p class="loading">Asking the server for the job…</p>;
  return (
    <Notice kind="error" title={problem.title}>
      {problem.message}
    </Notice>
  );
}

function Waiting({ watch }: { watch: JobWatch }) {
  const waiting = watch.waiting.value;
  return (
    <>
      {waiting && (
        <Notice kind="info" title={waiting.connectionLost ? "Connection lost" : waiting.title}>
          The page continues to watch as soon as the server answers. A server that has restarted
          resumes the job from its last checkpoint.
        </Notice>
      )}
      {watch.problem.value && (
        <Notice kind="error" title={watch.problem.value.title}>
          {watch.problem.value.message}
        </Notice>
      )}
    </>
  );
}

function Learning({ watch }: { watch: JobWatch }) {
  const shownStep = useSignal<number | undefined>(undefined);
  const showNearest = (step: number) => (shownStep.value = nearestGrid(watch, step)?.step);
  return (
    <>
      <div class="learning">
        <JobCurves watch={watch} shownStep={() => shownStep.value} onPick={showNearest} />
        <JobSamples watch={watch} shownStep={shownStep} />
      </div>
      <Compare watch={watch} />
    </>
  );
}

type Change = (request: { name: string }) => Promise<TrainingJob>;

function Actions({ watch, job }: { watch: JobWatch; job: TrainingJob }) {
  const busy = useSignal(false);
  const problem = useSignal<Problem | undefined>(undefined);
  const call = async (change: () => Promise<void>) => {
    busy.value = true;
    problem.value = undefined;
    try {
      await change();
    } catch (thrown) {
      problem.value = problemOf(thrown);
    }
    busy.value = false;
    refreshJobs();
  };
  const change = (method: Change) =>
    void call(async () => void (watch.job.value = await method({ name: job.name })));
  const remove = async () => {
    await training.deleteTrainingJob({ name: job.name }).catch((thrown: unknown) => {
      if (problemOf(thrown).code !== Code.NotFound) throw thrown;
    });
    go({ view: "train", item: "" });
  };
  const paused = job.state === TrainingJob_State.PAUSED;
  const running = [TrainingJob_State.QUEUED, TrainingJob_State.RUNNING].includes(job.state);
  return (
    <div class="buttons">
      {running && (
        <button
          type="button"
          disabled={busy.value}
          onClick={() => change(training.pauseTrainingJob)}
        >
          Pause
        </button>
      )}
      {paused && (
        <button
          type="button"
          class="primary"
          disabled={busy.value}
          onClick={() => change(training.resumeTrainingJob)}
        >
          Resume
        </button>
      )}
      {(running || paused) && (
        <ConfirmButton
          label="Cancel"
          question="End this job for good? What it has saved stays."
          disabled={busy.value}
          onConfirm={() => change(training.cancelTrainingJob)}
        />
      )}
      {hasEnded(job.state) && (
        <ConfirmButton
          label="Delete"
          question="Delete this job with its checkpoints? Published models stay."
          disabled={busy.value}
          onConfirm={() => void call(remove)}
        />
      )}
      {problem.value && (
        <Notice kind="error" title={problem.value.title}>
          {problem.value.message}
        </Notice>
      )}
    </div>
  );
}
