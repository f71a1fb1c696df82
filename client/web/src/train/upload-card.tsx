// An upload of this page: how far it is and, at the end, what the server has made of it.
import type { DatasetReport } from "../gen/denoised/v1/datasets_pb.ts";
import { shortName } from "../models/catalog.ts";
import { Notice } from "../ui/notice.tsx";
import { bytes, many } from "../ui/units.ts";
import { LeftOutFiles } from "./left-out-files.tsx";
import { openNewJob } from "./new-job.ts";
import type { Upload } from "./upload/upload.ts";
import { correct, forget, isCorrectable } from "./upload/uploads.ts";

export function UploadCard({ upload }: { upload: Upload }) {
  const report = upload.dataset.value?.report;
  return (
    <article class="panel upload" data-upload={upload.name} data-state={upload.state.value}>
      <header>
        <h3>{shortName(upload.name)}</h3>
        <p role="status">{headline(upload)}</p>
      </header>
      {!upload.ended && <Progress of={upload} />}
      {upload.waiting.value && (
        <Notice
          kind="info"
          title={upload.waiting.value.connectionLost ? "Connection lost" : "The server waits"}
        >
          The upload continues where it stopped as soon as the server answers.
        </Notice>
      )}
      {upload.problem.value && (
        <Notice kind="error" title={upload.problem.value.title}>
          {upload.problem.value.message}
        </Notice>
      )}
      {report && <Taken upload={upload} report={report} />}
      <footer>
        <Buttons upload={upload} />
      </footer>
    </article>
  );
}

function headline({ state, parcel, doneBytes }: Upload): string {
  const part = `${bytes(doneBytes.value)} of ${bytes(parcel.bytes.size)}`;
  switch (state.value) {
    case "hashing":
      return `Reading the files: ${part}`;
    case "sending":
      return `Uploading: ${part}`;
    case "reading":
      return "The server looks at the pictures…";
    case "cancelling":
      return "Cancelling…";
    case "cancelled":
      return "Cancelled: nothing of it is kept";
    case "failed":
      return "Not uploaded";
    case "done":
      return "Uploaded";
  }
}

function Progress({ of }: { of: Upload }) {
  const known = of.state.value === "hashing" || of.state.value === "sending";
  return (
    <progress
      class="progress"
      max={of.parcel.bytes.size}
      value={known ? of.doneBytes.value : undefined}
      aria-label={of.state.value === "hashing" ? "Bytes read" : "Bytes sent"}
    />
  );
}

function Taken({ upload, report }: { upload: Upload; report: DatasetReport }) {
  const { leftOut } = upload.parcel;
  const classes = report.classes.map(({ displayName }) => displayName).join(", ");
  return (
    <>
      <p>
        {many(report.pictures, "picture")}
        {report.classes.length === 0
          ? " without classes"
          : ` in ${many(report.classes.length, "class", "classes")}: ${classes}`}
      </p>
      <LeftOutFiles
        title={`The server left out ${many(report.unreadableFiles, "file")}`}
        files={report.unreadableExamples}
        total={Number(report.unreadableFiles)}
      />
      <LeftOutFiles
        title={`${many(leftOut.length, "file")} not sent`}
        files={leftOut}
        total={leftOut.length}
      />
    </>
  );
}

function Buttons({ upload }: { upload: Upload }) {
  if (!upload.ended)
    return (
      <button
        type="button"
        class="cancel small"
        disabled={upload.state.value === "cancelling"}
        onClick={() => void upload.cancel()}
      >
        Cancel
      </button>
    );
  return (
    <>
      {upload.state.value === "done" && (
        <button type="button" class="primary small" onClick={() => openNewJob(upload.name)}>
          Train on it
        </button>
      )}
      {upload.state.value === "done" && (
        <a class="button small" href={`#train/${upload.name}`}>
          Report
        </a>
      )}
      {isCorrectable(upload) && (
        <button type="button" class="small" onClick={() => correct(upload)}>
          Change its name
        </button>
      )}
      <button type="button" class="quiet small" onClick={() => forget(upload)}>
        Close
      </button>
    </>
  );
}
