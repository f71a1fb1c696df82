// The checkpoints that the server keeps of a job, and how one becomes a model.
import { useSignal } from "@preact/signals";
import type { Checkpoint, TrainingJob } from "../gen/denoised/v1/training_pb.ts";
import { shortName } from "../models/catalog.ts";
import { go } from "../request/address.ts";
import { Notice } from "../ui/notice.tsx";
import { bytes, time, whole } from "../ui/units.ts";
import type { JobWatch } from "./job-watch.ts";
import { nameLabel } from "./jobs.ts";
import { PublishForm } from "./publish-form.tsx";

export function Checkpoints({ watch, job }: { watch: JobWatch; job: TrainingJob }) {
  const publishing = useSignal<string | undefined>(undefined);
  return (
    <section aria-labelledby="checkpoints">
      <h2 id="checkpoints">Checkpoints</h2>
      {watch.checkpoints.value.length === 0 && <p class="explanation">{whyNone(job)}</p>}
      <ul class="rows">
        {watch.checkpoints.value.map((checkpoint) => (
          <Row
            key={checkpoint.name}
            checkpoint={checkpoint}
            suggestion={job.labels[nameLabel] ?? ""}
            open={publishing.value === checkpoint.name}
            onToggle={(open) => (publishing.value = open ? checkpoint.name : undefined)}
            onPublished={() => {
              publishing.value = undefined;
              watch.readOn();
            }}
          />
        ))}
      </ul>
      <Published watch={watch} />
    </section>
  );
}

interface RowProps {
  checkpoint: Checkpoint;
  /** A name for the model. */
  suggestion: string;
  open: boolean;
  onToggle: (open: boolean) => void;
  onPublished: () => void;
}

function Row({ checkpoint, suggestion, open, onToggle, onPublished }: RowProps) {
  return (
    <li class="checkpoint" data-checkpoint={checkpoint.name}>
      <span class="row-title">step {whole(checkpoint.step)}</span>
      <span class="row-facts number">
        {bytes(checkpoint.sizeBytes)} · {time(checkpoint.createTime)}
      </span>
      <button type="button" class="small" aria-expanded={open} onClick={() => onToggle(!open)}>
        Publish…
      </button>
      {open && (
        <PublishForm checkpoint={checkpoint} suggestion={suggestion} onPublished={onPublished} />
      )}
    </li>
  );
}

function whyNone({ work }: TrainingJob): string {
  const every = work.case === "training" ? work.value.checkpoints?.everyNSteps : undefined;
  return every === undefined
    ? "None yet."
    : `None yet: one is saved every ${whole(every)} steps, when the job is paused, and at its end.`;
}

function Published({ watch }: { watch: JobWatch }) {
  const published = watch.published.value;
  if (published === undefined) return null;
  const create = () => go({ view: "create", settings: { model: published.model }, generation: "" });
  return (
    <Notice
      kind="info"
      title={`Step ${whole(published.step)} is served as ${shortName(published.model)}`}
    >
      <button type="button" class="primary" onClick={create}>
        Create with it
      </button>
    </Notice>
  );
}
