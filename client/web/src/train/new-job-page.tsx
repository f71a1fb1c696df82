// The form of a new job: the settings that matter most, and the rest by their names in the
// contract.
import { Dataset_State } from "../gen/denoised/v1/datasets_pb.ts";
import { CreateTrainingJobRequestSchema } from "../gen/denoised/v1/training_pb.ts";
import {
  Objective_LossSchema,
  Objective_WeightingSchema,
  Optimizer_DecaySchema,
} from "../gen/denoised/v1/training_settings_pb.ts";
import { models, shortName } from "../models/catalog.ts";
import { enumWords, settablePaths } from "../request/fields.ts";
import { CheckField, NumberField, SelectField, TextField } from "../ui/controls.tsx";
import { Field } from "../ui/field.tsx";
import { FormFrame } from "../ui/form-frame.tsx";
import { MoreOptions } from "../ui/more-options.tsx";
import { Notice } from "../ui/notice.tsx";
import { BackLink } from "./back-link.tsx";
import { whole } from "../ui/units.ts";
import { datasets } from "./datasets.ts";
import { nameLabel } from "./jobs.ts";
import {
  chooseBase,
  chooseDataset,
  form,
  paths,
  starting,
  startJob,
  startProblem,
} from "./new-job.ts";

const namePath = `labels.${nameLabel}`;

// Those that have a place of their own in the form.
const placed = new Set<string>([
  ...Object.values(paths),
  namePath,
  ...["training.batch_size", "training.seed", "training.new_network.block_out_channels"],
  ...["training.new_network.noise_schedule", "training.new_network.prediction_type"],
  ...["training.optimizer.learning_rate", "training.optimizer.decay"],
  ...["training.optimizer.warmup_steps"],
  ...["training.objective.loss", "training.objective.weighting"],
  ...["training.objective.label_dropout", "training.augmentation.horizontal_flip"],
  ...["training.samples.every_n_steps", "training.samples.count"],
  ...["training.checkpoints.every_n_steps", "training.checkpoints.keep"],
  ...["training.evaluations.every_n_steps"],
]);

// A page that only fills in the data set and the model of an evaluation has no say in them.
const isTraining = (path: string) =>
  path === "priority" || (path.startsWith("training.") && !/settings\.(model|dataset)$/.test(path));

const others = settablePaths(CreateTrainingJobRequestSchema).filter(
  (path) => isTraining(path) && !placed.has(path),
);

export function NewJobPage() {
  const trainsFurther = form.settings.value[paths.baseModel] !== undefined;
  const offered = trainsFurther
    ? others.filter((path) => !path.startsWith(paths.newNetwork))
    : others;
  return (
    <>
      <BackLink />
      <h1>New job</h1>
      <div class="panel new-job">
        <FormFrame form={form} onSubmit={() => void startJob()} actions={<Actions />}>
          <fieldset class="columns">
            <DataAndModel trainsFurther={trainsFurther} />
            <TrainingFields />
            <SamplesAndCheckpoints />
          </fieldset>
          <MoreOptions
            schema={CreateTrainingJobRequestSchema}
            paths={offered}
            isPlaced={(path) => placed.has(path)}
          />
          {startProblem.value && (
            <Notice kind="error" title={startProblem.value.title}>
              {startProblem.value.message}
            </Notice>
          )}
        </FormFrame>
      </div>
    </>
  );
}

function Actions() {
  return (
    <>
      <button type="submit" class="primary" disabled={starting.value}>
        {starting.value ? "Starting…" : "Start training"}
      </button>
    </>
  );
}

function DataAndModel({ trainsFurther }: { trainsFurther: boolean }) {
  return (
    <section class="fields">
      <h2>Data and model</h2>
      <TextField
        path={namePath}
        label="Name"
        hint="of the job, and of its model"
        placeholder="none"
      />
      <DatasetField />
      <BaseField />
      {!trainsFurther && <NetworkFields />}
    </section>
  );
}

function DatasetField() {
  const ready = datasets.value?.filter(({ state }) => state === Dataset_State.READY) ?? [];
  return (
    <Field path={paths.dataset} label="Data set">
      {(control) => (
        <select {...control} onInput={(event) => chooseDataset(event.currentTarget.value)}>
          {!ready.some(({ name }) => name === control.value) && (
            <option value={control.value}>
              {ready.length === 0 ? "None: upload pictures first" : "Choose one"}
            </option>
          )}
          {ready.map(({ name, report }) => (
            <option key={name} value={name}>
              {shortName(name)} ({whole(report?.pictures ?? 0)} pictures)
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function BaseField() {
  const trainable = models.value?.filter(({ takesPrompts }) => !takesPrompts) ?? [];
  return (
    <Field path={paths.baseModel} label="Start from">
      {(control) => (
        <select {...control} onInput={(event) => chooseBase(event.currentTarget.value)}>
          <option value="">A new network</option>
          {trainable.map(({ name }) => (
            <option key={name} value={name}>
              {shortName(name)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

const schedules = ["squaredcos_cap_v2", "linear", "scaled_linear", "sigmoid", "edm", "flow"];
const predictions = ["v_prediction", "epsilon", "sample", "flow_prediction"];

function NetworkFields() {
  return (
    <>
      <div class="row">
        <NumberField path={paths.width} label="Width" absent="pixels" step={8} />
        <NumberField path={paths.height} label="Height" absent="pixels" step={8} />
      </div>
      <TextField
        path={`${paths.newNetwork}.block_out_channels`}
        label="Channels of each level"
        hint="finest first"
        placeholder="64, 128, 128, 128"
      />
      <div class="row">
        <SelectField
          path={`${paths.newNetwork}.noise_schedule`}
          label="Noise schedule"
          absent="default"
          words={schedules}
        />
        <SelectField
          path={`${paths.newNetwork}.prediction_type`}
          label="Prediction type"
          absent="default"
          words={predictions}
        />
      </div>
    </>
  );
}

function TrainingFields() {
  return (
    <section class="fields">
      <h2>Training</h2>
      <div class="row">
        <NumberField path={paths.maxSteps} label="Steps" absent="required" step={1} />
        <NumberField path="training.batch_size" label="Batch size" absent={64} step={1} />
      </div>
      <div class="row">
        <NumberField
          path="training.optimizer.learning_rate"
          label="Learning rate"
          absent={0.0001}
          step="any"
        />
        <NumberField
          path="training.optimizer.warmup_steps"
          label="Warm-up steps"
          absent={0}
          step={1}
        />
      </div>
      <div class="row">
        <SelectField
          path="training.optimizer.decay"
          label="Decay"
          absent="constant"
          words={enumWords(Optimizer_DecaySchema).filter((word) => word !== "constant")}
        />
        <NumberField path="training.seed" label="Seed" absent="random" step={1} />
      </div>
      <div class="row">
        <SelectField
          path="training.objective.loss"
          label="Loss"
          absent="default"
          words={enumWords(Objective_LossSchema)}
        />
        <SelectField
          path="training.objective.weighting"
          label="Weighting"
          absent="default"
          words={enumWords(Objective_WeightingSchema)}
        />
      </div>
      <NumberField
        path="training.objective.label_dropout"
        label="Label dropout"
        hint="makes guidance possible"
        absent={0.1}
        step={0.05}
      />
      <CheckField
        path="training.augmentation.horizontal_flip"
        label="Mirror half of the pictures"
      />
    </section>
  );
}

function SamplesAndCheckpoints() {
  return (
    <section class="fields">
      <h2>Samples and checkpoints</h2>
      <div class="row">
        <NumberField
          path="training.samples.every_n_steps"
          label="Samples every"
          hint="steps"
          absent={500}
          step={1}
        />
        <NumberField path="training.samples.count" label="Pictures" absent={16} step={1} />
      </div>
      <div class="row">
        <NumberField
          path="training.checkpoints.every_n_steps"
          label="Checkpoint every"
          hint="steps"
          absent={500}
          step={1}
        />
        <NumberField path="training.checkpoints.keep" label="Keep" absent={2} step={1} />
      </div>
      <NumberField
        path="training.evaluations.every_n_steps"
        label="Evaluate every"
        hint="steps"
        absent="never"
        step={1}
      />
    </section>
  );
}
