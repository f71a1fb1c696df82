// A data set: what is in it, what was left out, and what can be done with it.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  type Dataset,
  Dataset_State,
  DatasetFormatSchema,
  type DatasetReport,
} from "../gen/denoised/v1/datasets_pb.ts";
import { blobOf } from "../generation/album.ts";
import { shortName } from "../models/catalog.ts";
import { go } from "../request/address.ts";
import { enumWordOf } from "../request/fields.ts";
import { datasets as service, lookUp } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { ConfirmButton } from "../ui/confirm-button.tsx";
import { Fact } from "../ui/fact.tsx";
import { Notice } from "../ui/notice.tsx";
import { BackLink } from "./back-link.tsx";
import { bytes, many, significant, time, whole } from "../ui/units.ts";
import { datasets, isArriving, refreshDatasets } from "./datasets.ts";
import { LeftOutFiles } from "./left-out-files.tsx";
import { openNewJob } from "./new-job.ts";
import { Sheet } from "./sheet.tsx";

export function DatasetPage({ name }: { name: string }) {
  const dataset = useSignal<Dataset | undefined>(undefined);
  const problem = useSignal<Problem | undefined>(undefined);
  const listed = datasets.value?.find((one) => one.name === name);
  useEffect(() => {
    service.getDataset({ name }, lookUp).then(
      (found) => (dataset.value = found),
      (thrown: unknown) => (problem.value = problemOf(thrown)),
    );
  }, [name, listed?.state, datasets.value === undefined]);
  return (
    <>
      <BackLink />
      <header class="train-header">
        <h1>{shortName(name)}</h1>
        {dataset.value && <Actions dataset={dataset.value} />}
      </header>
      {!dataset.value && !problem.value && <p class="loading">Asking for the data set…</p>}
      {!dataset.value && problem.value && (
        <Notice kind="error" title={problem.value.title}>
          {problem.value.message}
        </Notice>
      )}
      {dataset.value && <Content dataset={dataset.value} listed={listed} />}
    </>
  );
}

function Actions({ dataset: { name, state } }: { dataset: Dataset }) {
  const busy = useSignal(false);
  const problem = useSignal<Problem | undefined>(undefined);
  const remove = async () => {
    busy.value = true;
    try {
      await service.deleteDataset({ name });
      refreshDatasets();
      go({ view: "train", item: "" });
    } catch (thrown) {
      problem.value = problemOf(thrown);
    }
    busy.value = false;
  };
  return (
    <div class="buttons">
      {state === Dataset_State.READY && (
        <button type="button" class="primary" onClick={() => openNewJob(name)}>
          Train on it
        </button>
      )}
      <ConfirmButton
        label="Delete"
        question={`Delete ${shortName(name)} for good?`}
        disabled={busy.value}
        onConfirm={() => void remove()}
      />
      {problem.value && (
        <Notice kind="error" title={problem.value.title}>
          {problem.value.message}
        </Notice>
      )}
    </div>
  );
}

function Content({ dataset, listed }: { dataset: Dataset; listed: Dataset | undefined }) {
  const { report, state, error } = dataset;
  return (
    <>
      {state === Dataset_State.FAILED && (
        <Notice kind="error" title="Nothing can be trained on it">
          {error}. Correct the files and upload them under the same name.
        </Notice>
      )}
      {isArriving(dataset) && <Arriving dataset={listed ?? dataset} />}
      {report && (
        <div class="report">
          <ContactSheet dataset={dataset} report={report} />
          <div class="report-text">
            <Facts dataset={dataset} report={report} />
            <Classes report={report} />
            <LeftOutFiles
              title={`${many(report.unreadableFiles, "file")} left out`}
              files={report.unreadableExamples}
              total={Number(report.unreadableFiles)}
            />
            <LeftOutFiles
              title={many(report.nearDuplicates, "near-duplicate")}
              files={report.nearDuplicateExamples.map(({ file, otherFile }) => ({
                file,
                reason: `looks like ${otherFile}`,
              }))}
              total={Number(report.nearDuplicates)}
            />
          </div>
        </div>
      )}
    </>
  );
}

function Arriving({ dataset: { receivedBytes, totalBytes, state } }: { dataset: Dataset }) {
  const reading = state === Dataset_State.READING;
  return (
    <>
      <progress
        class="progress"
        max={Number(totalBytes)}
        value={reading ? undefined : Number(receivedBytes)}
        aria-label="Bytes received"
      />
      <p class="explanation">
        {reading
          ? "The server looks at the pictures…"
          : `${bytes(receivedBytes)} of ${bytes(totalBytes)} have arrived. An upload that was ` +
            "interrupted continues when the same files are uploaded under this name again."}
      </p>
    </>
  );
}

function ContactSheet({ dataset, report }: { dataset: Dataset; report: DatasetReport }) {
  if (report.contactSheet === undefined) return null;
  return (
    <Sheet
      blob={blobOf(report.contactSheet)}
      width={report.contactSheet.width}
      label={`Pictures of ${shortName(dataset.name)}`}
    />
  );
}

function Facts({ dataset, report }: { dataset: Dataset; report: DatasetReport }) {
  const sizes = report.sizes.slice(0, 3).map(({ width, height }) => `${width} × ${height}`);
  const [red, green, blue] = report.channelStatistics.map(({ mean }) => significant(mean));
  return (
    <dl class="facts">
      <Fact name="pictures">{whole(report.pictures)}</Fact>
      <Fact name="sizes">
        {sizes.join(", ")}
        {report.distinctSizes > sizes.length && ` and ${report.distinctSizes - sizes.length} more`}
      </Fact>
      {red && (
        <Fact name="mean colour">
          {red}, {green}, {blue}
        </Fact>
      )}
      {report.classImbalance > 0 && (
        <Fact name="imbalance">{significant(report.classImbalance)}</Fact>
      )}
      <Fact name="format">{enumWordOf(DatasetFormatSchema, dataset.format)}</Fact>
      <Fact name="uploaded">
        {bytes(dataset.totalBytes)}, {time(dataset.createTime)}
      </Fact>
      <Fact name="stored">{bytes(dataset.storedBytes)}</Fact>
    </dl>
  );
}

function Classes({ report: { classes } }: { report: DatasetReport }) {
  if (classes.length === 0) return <p class="explanation">It has no classes.</p>;
  const most = Math.max(...classes.map(({ pictures }) => Number(pictures)));
  return (
    <table class="classes">
      <caption class="hidden">Pictures of each class</caption>
      <tbody>
        {classes.map(({ displayName, pictures }) => (
          <tr key={displayName}>
            <th scope="row">{displayName}</th>
            <td class="share">
              <meter min={0} max={most} value={Number(pictures)} aria-label={displayName} />
            </td>
            <td class="number">{whole(pictures)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
