// What the server does now, as its latest snapshot says.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { signal } from "@preact/signals";
import type { ActivitySnapshot } from "../gen/denoised/v1/activity_pb.ts";
import { activity as service } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { backoffMs, isAborted, sleep } from "../rpc/retry.ts";
import { History, type Sample } from "./history.ts";
import { type Boards, nextBoards } from "./lanes.ts";

/** Undefined until the server has answered. */
export const snapshot = signal<ActivitySnapshot | undefined>(undefined);
/** What the devices' rows are. */
export const boards = signal<Boards>(new Map());
/** Totals, once a second. */
export const samples = signal<readonly Sample[]>([]);
/** Why there are no snapshots now. */
export const problem = signal<Problem | undefined>(undefined);
/** The server's clock, in milliseconds since 1970. */
export const nowMs = signal(0);

const history = new History();
const sampleEveryMs = 1000;
// What to add to this page's clock.
let offsetMs = 0;

/** Follows the server until `signal` aborts, through restarts and lost connections. */
export async function followActivity(signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !isAborted(signal); attempt++) {
    let sampling: ReturnType<typeof setInterval> | undefined;
    try {
      for await (const next of service.watchActivity({}, { signal })) {
        attempt = 0;
        take(next);
        if (sampling === undefined) takeSample();
        sampling ??= setInterval(takeSample, sampleEveryMs);
      }
    } catch (thrown) {
      if (!isAborted(signal)) problem.value = problemOf(thrown);
    } finally {
      clearInterval(sampling);
    }
    await sleep(problem.peek()?.retryAfterMs ?? backoffMs(attempt), signal);
  }
}

function take(next: ActivitySnapshot): void {
  nowMs.value = next.time ? timestampMs(next.time) : Date.now();
  offsetMs = nowMs.peek() - performance.now();
  problem.value = undefined;
  history.observe(next);
  boards.value = nextBoards(boards.peek(), next);
  snapshot.value = next;
}

// The server sends nothing while nothing changes, so this page's clock tells the time.
function takeSample(): void {
  nowMs.value = performance.now() + offsetMs;
  history.sample(nowMs.peek());
  samples.value = history.samples;
}
