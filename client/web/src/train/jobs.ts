// The training jobs of the server.
import { signal } from "@preact/signals";
import { type TrainingJob, TrainingJob_State } from "../gen/denoised/v1/training_pb.ts";
import { shortName } from "../models/catalog.ts";
import { go } from "../request/address.ts";
import { lookUp, training as service } from "../rpc/clients.ts";
import { everyPage } from "../rpc/pages.ts";
import { Poll } from "../rpc/poll.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";

/** Newest first. Undefined until the server has answered. */
export const jobs = signal<readonly TrainingJob[] | undefined>(undefined);
export const jobsProblem = signal<Problem | undefined>(undefined);

const idleMs = 5000;
const busyMs = 1000;

export const hasEnded = (state: TrainingJob_State) => state >= TrainingJob_State.SUCCEEDED;
const isBusy = ({ state }: TrainingJob) => !hasEnded(state) && state !== TrainingJob_State.PAUSED;

const poll = new Poll(update, () => (jobs.peek()?.some(isBusy) ? busyMs : idleMs));

export const refreshJobs = poll.refresh;
export const followJobs = (leaving: AbortSignal) => void poll.follow(leaving);

async function update(): Promise<boolean> {
  try {
    const pages = await everyPage((pageToken) => service.listTrainingJobs({ pageToken }, lookUp));
    jobs.value = pages.flatMap((page) => page.jobs);
    jobsProblem.value = undefined;
  } catch (thrown) {
    jobsProblem.value = problemOf(thrown);
  }
  return jobsProblem.peek() === undefined;
}

/** The label that holds what people call a job. */
export const nameLabel = "name";

/** What people call a job: its label, or its number. */
export const titleOf = ({ name, labels }: TrainingJob) =>
  labels[nameLabel] || `Job ${shortName(name)}`;

export const jobName = (item: string) => `trainingJobs/${item}`;

export const showJob = (name: string) => go({ view: "train", item: shortName(name) });

export const stateWord = (state: TrainingJob_State) => TrainingJob_State[state].toLowerCase();

/** What a job works on: "emoji, 20,000 steps". */
export function datasetOf({ work }: TrainingJob): string {
  return shortName(work.value?.dataset ?? "");
}
