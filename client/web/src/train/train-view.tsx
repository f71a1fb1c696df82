import { useEffect } from "preact/hooks";
import { address } from "../request/address.ts";
import { Notice } from "../ui/notice.tsx";
import { DatasetPage } from "./dataset-page.tsx";
import { datasetsProblem, followDatasets, isWithoutState } from "./datasets.ts";
import { JobPage } from "./job-page.tsx";
import { followJobs, jobName, jobsProblem } from "./jobs.ts";
import { NewJobPage } from "./new-job-page.tsx";
import { newJobItem } from "./new-job.ts";
import { Overview } from "./overview.tsx";

export function TrainView() {
  useEffect(() => {
    const leaving = new AbortController();
    followDatasets(leaving.signal);
    followJobs(leaving.signal);
    return () => leaving.abort();
  }, []);
  return (
    <div class="train">
      {isWithoutState(jobsProblem.value ?? datasetsProblem.value) ? <NoState /> : <Place />}
    </div>
  );
}

function Place() {
  const { item } = address.value;
  if (item === "") return <Overview />;
  if (item === newJobItem) return <NewJobPage />;
  if (item.startsWith("datasets/")) return <DatasetPage key={item} name={item} />;
  return <JobPage key={item} name={jobName(item)} />;
}

function NoState() {
  return (
    <>
      <h1>Train</h1>
      <Notice kind="info" title="This server does not train">
        <p>
          It keeps no data sets and no jobs. Start it with a folder for them, and train models here
          that it then serves:
        </p>
        <p>
          <code>denoised --models models --state state</code>
        </p>
      </Notice>
    </>
  );
}
