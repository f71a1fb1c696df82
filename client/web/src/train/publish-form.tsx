// Publishing a checkpoint: under which name, and which of its averages in which precision.
import { create } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import {
  type Checkpoint,
  PublishModelRequest_PrecisionSchema,
  PublishModelRequestSchema,
} from "../gen/denoised/v1/training_pb.ts";
import { loadCatalog } from "../models/catalog.ts";
import { enumWords, fill, type Settings } from "../request/fields.ts";
import { Form } from "../request/form.ts";
import { training } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { CheckField, SelectField, TextField } from "../ui/controls.tsx";
import { FormFrame } from "../ui/form-frame.tsx";
import { Notice } from "../ui/notice.tsx";

interface PublishFormProps {
  checkpoint: Checkpoint;
  /** A name for the model. */
  suggestion: string;
  onPublished: () => void;
}

export function PublishForm({ checkpoint, suggestion, onPublished }: PublishFormProps) {
  const form = useMemo(() => formWith({ model: suggestion }), [checkpoint.name]);
  const busy = useSignal(false);
  const problem = useSignal<Problem | undefined>(undefined);
  const publish = async () => {
    busy.value = true;
    problem.value = undefined;
    try {
      await training.publishModel(requestOf(checkpoint, form.settings.peek()));
      await loadCatalog();
      onPublished();
    } catch (thrown) {
      const found = problemOf(thrown);
      form.refuse(found.violations);
      if (found.violations.length === 0) problem.value = found;
    }
    busy.value = false;
  };
  return (
    <div class="panel publish">
      <FormFrame
        form={form}
        onSubmit={() => void publish()}
        actions={
          <button type="submit" class="primary" disabled={busy.value}>
            Publish
          </button>
        }
      >
        <TextField path="model" label="Name of the model" placeholder="pets" />
        <div class="row">
          <SelectField
            path="precision"
            label="Precision"
            absent="float32"
            words={enumWords(PublishModelRequest_PrecisionSchema).filter(
              (word) => word !== "float32",
            )}
          />
          {checkpoint.emaDecays.length > 1 && (
            <SelectField
              path="ema_decay"
              label="Average"
              absent="greatest decay"
              words={checkpoint.emaDecays.map(String)}
            />
          )}
        </div>
        <CheckField path="allow_replace" label="May replace a model of another shape" />
        {busy.value && <progress class="progress" aria-label="Publishing" />}
        {problem.value && (
          <Notice kind="error" title={problem.value.title}>
            {problem.value.message}
          </Notice>
        )}
      </FormFrame>
    </div>
  );
}

function formWith(first: Settings): Form {
  const settings = signal(first);
  return new Form({ settings, store: (next) => (settings.value = next), check: () => [] });
}

function requestOf({ name }: Checkpoint, settings: Settings) {
  const request = create(PublishModelRequestSchema, { source: name });
  fill(reflect(PublishModelRequestSchema, request), settings, () => undefined);
  request.model = `models/${request.model}`;
  return request;
}
