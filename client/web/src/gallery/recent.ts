// The generations that the server knows, newest first. Asking for them also tells whether the
// server can be reached.
import { effect, signal } from "@preact/signals";
import { type Generation, Generation_State } from "../gen/denoised/v1/generations_pb.ts";
import { loadCatalog, models } from "../models/catalog.ts";
import { generations as service, lookUp } from "../rpc/clients.ts";
import { Poll } from "../rpc/poll.ts";
import { problemOf } from "../rpc/problem.ts";

/** Undefined until the server has answered. */
export const recent = signal<readonly Generation[] | undefined>(undefined);
export const moreToShow = signal(false);
/** Whether the server answered when it was last asked. */
export const online = signal(true);

const pageSize = 60;
const shown = signal(pageSize);
const idleMs = 5000;
const busyMs = 1000;

export const isOver = ({ state }: Generation) => state >= Generation_State.SUCCEEDED;

const poll = new Poll(update, () => (recent.peek()?.every(isOver) ? idleMs : busyMs));

/** Asks the server now instead of at the next turn. */
export const refreshRecent = poll.refresh;

export function showMore(): void {
  if (moreToShow.peek()) shown.value = Math.min(1000, shown.peek() + pageSize);
}

/** Keeps the list up to date, until the page is closed. */
export function followRecent(): void {
  effect(() => {
    if (shown.value > pageSize) refreshRecent();
  });
  void poll.follow(new AbortController().signal);
}

async function update(): Promise<boolean> {
  try {
    const page = await service.listGenerations({ pageSize: shown.peek() }, lookUp);
    recent.value = page.generations;
    moreToShow.value = page.nextPageToken !== "";
    // It may be another server now, or one that has just started and still looks for its models.
    if (!online.peek() || !models.peek()?.length) void loadCatalog();
    online.value = true;
    return true;
  } catch (thrown) {
    online.value = !problemOf(thrown).connectionLost;
    return false;
  }
}
