// What the server trains, and what it can train on.
import type { ComponentChildren } from "preact";
import { type Dataset, Dataset_State } from "../gen/denoised/v1/datasets_pb.ts";
import type { TrainingJob } from "../gen/denoised/v1/training_pb.ts";
import { shortName } from "../models/catalog.ts";
import type { Problem } from "../rpc/problem.ts";
import { Notice } from "../ui/notice.tsx";
import { bytes, many, time } from "../ui/units.ts";
import { datasets, datasetsProblem, isArriving } from "./datasets.ts";
import { JobProgress } from "./job-progress.tsx";
import { datasetOf, jobs, jobsProblem, stateWord, titleOf } from "./jobs.ts";
import { openNewJob } from "./new-job.ts";
import { UploadPanel } from "./upload-panel.tsx";

export function Overview() {
  return (
    <>
      <header class="train-header">
        <div>
          <h1>Train</h1>
          <p class="explanation">
            Upload pictures, train a network on them while the server keeps generating, and serve
            what it has learned.
          </p>
        </div>
        <button type="button" class="primary" onClick={() => openNewJob()}>
          New job
        </button>
      </header>
      <div class="overview">
        <section aria-labelledby="jobs">
          <h2 id="jobs">Jobs</h2>
          <List
            of={jobs.value}
            problem={jobsProblem.value}
            empty="None yet. Upload pictures, then press New job."
            loading="Asking the server for its jobs…"
          >
            {(job) => <JobRow key={job.name} job={job} />}
          </List>
        </section>
        <section aria-labelledby="datasets">
          <h2 id="datasets">Data sets</h2>
          <UploadPanel />
          <List
            of={datasets.value}
            problem={datasetsProblem.value}
            empty="None yet. Drop a folder above: each folder in it is a class."
            loading="Asking the server for its data sets…"
          >
            {(dataset) => <DatasetRow key={dataset.name} dataset={dataset} />}
          </List>
        </section>
      </div>
    </>
  );
}

interface ListProps<Item> {
  /** Undefined: the server has not answered yet. */
  of: readonly Item[] | undefined;
  problem: Problem | undefined;
  empty: string;
  loading: string;
  children: (item: Item) => ComponentChildren;
}

function List<Item>({ of: items, problem, empty, loading, children }: ListProps<Item>) {
  return (
    <>
      {problem && (
        <Notice kind="error" title={problem.title}>
          {problem.message}
        </Notice>
      )}
      {items === undefined && !problem && <p class="loading">{loading}</p>}
      {items?.length === 0 && <p class="explanation">{empty}</p>}
      <ul class="rows">{items?.map(children)}</ul>
    </>
  );
}

function JobRow({ job }: { job: TrainingJob }) {
  const { work, state, createTime } = job;
  return (
    <li>
      <a class="row-link" href={`#train/${shortName(job.name)}`} data-job={job.name}>
        <span class="row-title">{titleOf(job)}</span>
        <span class="dot" data-state={stateWord(state)}>
          {stateWord(state)}
        </span>
        <span class="row-facts number">
          {work.case === "evaluation" ? "evaluates on" : "learns"} {datasetOf(job)} ·{" "}
          {time(createTime)}
        </span>
        <JobProgress job={job} progress={job.progress} />
      </a>
    </li>
  );
}

function DatasetRow({ dataset }: { dataset: Dataset }) {
  const state = Dataset_State[dataset.state].toLowerCase();
  return (
    <li>
      <a class="row-link" href={`#train/${dataset.name}`} data-dataset={dataset.name}>
        <span class="row-title">{shortName(dataset.name)}</span>
        <span class="dot" data-state={state}>
          {state}
        </span>
        <span class="row-facts number">{factsOf(dataset)}</span>
        {isArriving(dataset) && (
          <progress
            class="progress"
            max={Number(dataset.totalBytes)}
            value={Number(dataset.receivedBytes)}
            aria-label="Bytes received"
          />
        )}
      </a>
    </li>
  );
}

function factsOf({
  state,
  report,
  storedBytes,
  totalBytes,
  receivedBytes,
  error,
}: Dataset): string {
  if (state === Dataset_State.FAILED) return error;
  if (state !== Dataset_State.READY || report === undefined)
    return `${bytes(receivedBytes)} of ${bytes(totalBytes)}`;
  const leftOut = report.unreadableFiles;
  return [
    many(report.pictures, "picture"),
    report.classes.length === 0 ? "no classes" : many(report.classes.length, "class", "classes"),
    bytes(storedBytes),
    leftOut > 0n ? `${many(leftOut, "file")} left out` : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}
