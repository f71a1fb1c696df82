// The job that the form describes: what "Start" would send now, and what is wrong with it.
import { create } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { computed, signal } from "@preact/signals";
import {
  type CreateTrainingJobRequest,
  CreateTrainingJobRequestSchema,
} from "../gen/denoised/v1/training_pb.ts";
import { address, go } from "../request/address.ts";
import { fill, type Settings } from "../request/fields.ts";
import { Form } from "../request/form.ts";
import { randomText } from "../request/pictures.ts";
import { training } from "../rpc/clients.ts";
import { type Problem, problemOf, type Violation } from "../rpc/problem.ts";
import { datasets, suggestedSide } from "./datasets.ts";
import { refreshJobs, showJob } from "./jobs.ts";

/** The item of the address that is the form of a new job. */
export const newJobItem = "new";

export const paths = {
  dataset: "training.dataset",
  baseModel: "training.base_model",
  newNetwork: "training.new_network",
  height: "training.new_network.height",
  width: "training.new_network.width",
  maxSteps: "training.max_steps",
} as const;

const usualSteps = "5000";

/** Without `request_id`. */
const draft = computed<{ request: CreateTrainingJobRequest; violations: Violation[] }>(() => {
  const request = create(CreateTrainingJobRequestSchema);
  const message = reflect(CreateTrainingJobRequestSchema, request);
  return { violations: fill(message, form.settings.value, () => undefined), request };
});

export const form: Form = new Form({
  settings: computed(() => address.value.settings),
  store: (settings) => go({ settings }, { replace: true }),
  check: () => draft.value.violations,
});

export const starting = signal(false);
/** Why the job was not started, apart from its fields. */
export const startProblem = signal<Problem | undefined>(undefined);

/** Shows the form with the settings of last time, and `dataset` in place of that of before. */
export function openNewJob(dataset?: string): void {
  startProblem.value = undefined;
  go({ view: "train", item: newJobItem });
  if (form.settings.peek()[paths.maxSteps] === undefined)
    form.setFields({ [paths.maxSteps]: usualSteps });
  const chosen = dataset ?? form.settings.peek()[paths.dataset] ?? datasets.peek()?.[0]?.name;
  if (chosen !== undefined) chooseDataset(chosen);
}

/** Trains on a data set; a new network gets a size that fits it. */
export function chooseDataset(name: string): void {
  const settings = form.settings.peek();
  if (settings[paths.dataset] === name) return;
  const trainsFurther = settings[paths.baseModel] !== undefined;
  form.setFields({ [paths.dataset]: name, ...(trainsFurther ? {} : sizeFor(name)) });
}

/** Trains a served model further or, if `model` is empty, a new network. */
export function chooseBase(model: string): void {
  const settings = form.settings.peek();
  const ofNetwork = Object.keys(settings).filter((path) => path.startsWith(paths.newNetwork));
  const without = Object.fromEntries(ofNetwork.map((path) => [path, ""]));
  const size = model === "" ? sizeFor(settings[paths.dataset] ?? "") : {};
  form.setFields({ ...without, [paths.baseModel]: model, ...size });
}

function sizeFor(dataset: string): Settings {
  const report = datasets.peek()?.find(({ name }) => name === dataset)?.report;
  if (report === undefined) return {};
  const side = String(suggestedSide(report));
  return { [paths.height]: side, [paths.width]: side };
}

export async function startJob(): Promise<void> {
  const { request, violations } = draft.peek();
  form.refuse(violations);
  if (violations.length > 0 || starting.peek()) return;
  starting.value = true;
  startProblem.value = undefined;
  try {
    request.requestId = `page-${randomText(12)}`;
    const { name } = await training.createTrainingJob(request);
    refreshJobs();
    showJob(name);
  } catch (thrown) {
    const problem = problemOf(thrown);
    form.refuse(problem.violations);
    if (problem.violations.length === 0) startProblem.value = problem;
  }
  starting.value = false;
}
