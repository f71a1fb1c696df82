// The data sets of the server.
import { Code } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { type Dataset, Dataset_State, type DatasetReport } from "../gen/denoised/v1/datasets_pb.ts";
import { datasets as service, lookUp } from "../rpc/clients.ts";
import { everyPage } from "../rpc/pages.ts";
import { Poll } from "../rpc/poll.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";

/** By name. Undefined until the server has answered. */
export const datasets = signal<readonly Dataset[] | undefined>(undefined);
export const datasetsProblem = signal<Problem | undefined>(undefined);

const idleMs = 5000;
const busyMs = 1000;

export const datasetName = (shortName: string) => `datasets/${shortName}`;

export const isArriving = ({ state }: Dataset) =>
  state === Dataset_State.UPLOADING || state === Dataset_State.READING;

const poll = new Poll(update, () => (datasets.peek()?.some(isArriving) ? busyMs : idleMs));

export const refreshDatasets = poll.refresh;
export const followDatasets = (leaving: AbortSignal) => void poll.follow(leaving);

async function update(): Promise<boolean> {
  try {
    const pages = await everyPage((pageToken) => service.listDatasets({ pageToken }, lookUp));
    datasets.value = pages.flatMap((page) => page.datasets);
    datasetsProblem.value = undefined;
  } catch (thrown) {
    datasetsProblem.value = problemOf(thrown);
  }
  return datasetsProblem.peek() === undefined;
}

/** The server keeps no state, so it has neither data sets nor jobs. */
export const isWithoutState = (problem: Problem | undefined) =>
  problem?.code === Code.Unimplemented;

const largestSide = 32;

/** A side in pixels that a small network learns these pictures at. */
export function suggestedSide({ sizes }: DatasetReport): number {
  const [most] = sizes;
  const side = most === undefined ? largestSide : Math.min(most.width, most.height);
  return Math.min(largestSide, Math.max(8, side - (side % 8)));
}
