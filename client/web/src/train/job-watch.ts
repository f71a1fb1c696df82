// A job that this page watches: its events since the beginning, which it continues to read after a
// broken connection or a restart of the server.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { blobOf } from "../generation/album.ts";
import {
  type Checkpoint,
  type EvaluationResult,
  type ModelPublished,
  type SampleGrid,
  type TrainingEvent,
  type TrainingJob,
  TrainingJob_State,
  type TrainingProgress,
} from "../gen/denoised/v1/training_pb.ts";
import { shortName } from "../models/catalog.ts";
import { lookUp, training } from "../rpc/clients.ts";
import { everyPage } from "../rpc/pages.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { backoffMs, isAborted, sleep } from "../rpc/retry.ts";
import { hasEnded, stateWord } from "./jobs.ts";

/** A picture of samples after a step. */
export interface Grid {
  step: number;
  blob: Blob;
  /** In pixels. */
  width: number;
}

/** A line of the log. */
export interface Entry {
  sequence: bigint;
  time: Timestamp | undefined;
  kind: "state" | "checkpoint" | "evaluation" | "published" | "notice";
  text: string;
}

export class JobWatch {
  /** As the server last described it. Undefined until it has answered. */
  readonly job = signal<TrainingJob | undefined>(undefined);
  readonly progress = signal<TrainingProgress | undefined>(undefined);
  /** Those that the server keeps, newest first. */
  readonly checkpoints = signal<readonly Checkpoint[]>([]);
  readonly published = signal<ModelPublished | undefined>(undefined);
  /** What the page waits for before it tries again. Undefined: it is connected. */
  readonly waiting = signal<Problem | undefined>(undefined);
  /** Why it cannot be watched. */
  readonly problem = signal<Problem | undefined>(undefined);
  /** Rises with the lists below, at most once a frame. Components read it before them. */
  readonly revision = signal(0);
  /** By step. */
  readonly history: TrainingProgress[] = [];
  readonly grids: Grid[] = [];
  readonly evaluations: EvaluationResult[] = [];
  /** Oldest first. */
  readonly log: Entry[] = [];

  #lastSequence: bigint | undefined;
  #following = false;
  #redrawAsked = false;
  #jobHasChanged = false;
  readonly #leaving = new AbortController();

  constructor(
    /** "trainingJobs/{job}". */
    readonly name: string,
  ) {
    this.readOn();
  }

  /** Reads what is reported of a job that has ended, such as that it was published. */
  readOn(): void {
    if (this.#following) return;
    this.#following = true;
    void this.#follow().finally(() => (this.#following = false));
  }

  /** Stops watching. The job itself continues. */
  leave(): void {
    this.#leaving.abort();
  }

  get state(): TrainingJob_State {
    return this.job.value?.state ?? TrainingJob_State.STATE_UNSPECIFIED;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#leaving;
    for (let attempt = 0; !isAborted(signal); attempt++) {
      try {
        await this.#refresh();
        const request = { name: this.name, resumeAfter: this.#lastSequence };
        for await (const event of training.watchTrainingJob(request, { signal })) {
          attempt = 0;
          this.#take(event);
        }
        await this.#refresh();
        if (hasEnded(this.state)) return;
        await sleep(backoffMs(attempt), signal);
      } catch (thrown) {
        if (isAborted(signal)) return;
        const problem = problemOf(thrown);
        if (!canTryAgain(problem)) {
          this.waiting.value = undefined;
          this.problem.value = problem;
          return;
        }
        this.waiting.value = problem;
        await sleep(problem.retryAfterMs ?? backoffMs(attempt), signal);
      }
    }
  }

  async #refresh(): Promise<void> {
    const options = { ...lookUp, signal: this.#leaving.signal };
    this.job.value = await training.getTrainingJob({ name: this.name }, options);
    const pages = await everyPage((pageToken) =>
      training.listCheckpoints({ parent: this.name, pageToken }, options),
    );
    this.checkpoints.value = pages.flatMap((page) => page.checkpoints);
    this.waiting.value = undefined;
  }

  #take({ sequence, time, event }: TrainingEvent): void {
    this.#lastSequence = sequence;
    const note = (kind: Entry["kind"], text: string) =>
      this.log.push({ sequence, time, kind, text });
    switch (event.case) {
      case "stateChange":
        this.#jobHasChanged = true;
        note(
          "state",
          [stateWord(event.value.state), event.value.reason].filter(Boolean).join(": "),
        );
        break;
      case "progress":
        dropFrom(this.history, event.value.step);
        this.history.push(event.value);
        break;
      case "sampleGrid":
        this.#addGrid(event.value);
        break;
      case "checkpoint":
        this.#jobHasChanged = true;
        note("checkpoint", `checkpoint of step ${event.value.step}`);
        break;
      case "evaluation":
        dropFrom(this.evaluations, event.value.step);
        this.evaluations.push(event.value);
        note("evaluation", `evaluated at step ${event.value.step}`);
        break;
      case "published":
        this.published.value = event.value;
        note("published", `step ${event.value.step} is served as ${shortName(event.value.model)}`);
        break;
      case "notice":
        note("notice", event.value);
        break;
      default:
        break; // a kind of event that this page does not know yet
    }
    this.#redraw();
  }

  #addGrid({ step, image }: SampleGrid): void {
    dropFrom(this.grids, step);
    if (image) this.grids.push({ step: Number(step), blob: blobOf(image), width: image.width });
  }

  // A job that is watched from its beginning sends thousands of events at once.
  #redraw(): void {
    if (this.#redrawAsked) return;
    this.#redrawAsked = true;
    requestAnimationFrame(() => {
      this.#redrawAsked = false;
      this.progress.value = this.history.at(-1);
      this.revision.value++;
      if (this.#jobHasChanged) void this.#refresh().catch(() => undefined); // the stream tells why
      this.#jobHasChanged = false;
    });
  }
}

// A job that rolls back takes steps again. What it has reported of them before does not count.
function dropFrom(list: { step: number | bigint }[], step: number | bigint): void {
  while ((list.at(-1)?.step ?? -1) >= step) list.pop();
}

// A stream is also cancelled when its reader was too slow, a laptop that slept for example.
const canTryAgain = ({ connectionLost, retryAfterMs, code }: Problem) =>
  connectionLost || retryAfterMs !== undefined || code === Code.Canceled;
