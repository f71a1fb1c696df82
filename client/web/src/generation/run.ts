// A generation that this page follows: starts it or joins it, takes its events, and comes back to it
// when the connection breaks or the server restarts. It can be paused: the page then holds the token
// that continues it.
import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { Generation_State } from "../gen/denoised/v1/generations_pb.ts";
import {
  type Accepted,
  type Finished,
  type GenerateEvent,
  type GenerateRequest,
  GenerateRequestSchema,
  type Progress,
} from "../gen/denoised/v1/image_generation_pb.ts";
import { generations, imageGeneration, lookUp } from "../rpc/clients.ts";
import { type Problem, problemOf } from "../rpc/problem.ts";
import { backoffMs, isAborted, sleep } from "../rpc/retry.ts";
import { Album } from "./album.ts";

export type RunState =
  | "starting" // asked for; the server has not answered yet
  | "queued"
  | "running"
  | "cancelling"
  | "pausing"
  | "paused"
  | "succeeded"
  | "cancelled"
  | "failed"
  | "gone"; // the server does not have it, or has it no longer

/** Finds what started a generation. Undefined: this browser does not know. */
export type FindRequest = () => Promise<GenerateRequest | undefined>;

export class Run {
  readonly state = signal<RunState>("starting");
  readonly accepted = signal<Accepted | undefined>(undefined);
  readonly queuePosition = signal<number | undefined>(undefined);
  readonly expectedWait = signal<Duration | undefined>(undefined);
  readonly progress = signal<Progress | undefined>(undefined);
  readonly finished = signal<Finished | undefined>(undefined);
  /** Why it failed, or is gone. */
  readonly problem = signal<Problem | undefined>(undefined);
  /** What the page waits for before it tries again. Undefined: it is connected. */
  readonly waiting = signal<Problem | undefined>(undefined);
  /** The server has restarted and makes the same images again. */
  readonly startedAgain = signal(false);
  /** A token has been presented, and no server has taken it yet: there is nothing to stop. */
  readonly moving = signal(false);
  readonly album = new Album();

  #lastSequence: bigint | undefined;
  // What to start. Undefined: the generation exists, and is watched.
  #request: GenerateRequest | undefined;
  // That `#request` presents a token, and what has made it.
  #presents: "drain" | "pause" | undefined;
  // Of the latest pause. Undefined: the page does not have it, but the server may.
  #token: Uint8Array | undefined;
  readonly #findRequest: FindRequest;
  readonly #leaving = new AbortController();

  private constructor(
    /** "generations/{generation}". */
    readonly name: string,
    request: GenerateRequest | undefined,
    findRequest: FindRequest,
  ) {
    this.#request = request;
    this.#findRequest = findRequest;
    void this.#follow();
  }

  /** Starts the generation that `request.requestId` names. */
  static start(request: GenerateRequest): Run {
    return new Run(`generations/${request.requestId}`, request, () => Promise.resolve(request));
  }

  /** Watches a generation. If the server forgets it meanwhile, `findRequest` starts it again. */
  static join(name: string, findRequest: FindRequest): Run {
    return new Run(name, undefined, findRequest);
  }

  /** Nothing more happens by itself. */
  get ended(): boolean {
    return ["paused", "succeeded", "cancelled", "failed", "gone"].includes(this.state.value);
  }

  /** It has been asked to stop. */
  get stopping(): boolean {
    return ["cancelling", "pausing"].includes(this.state.value);
  }

  /** Ends the generation, for everybody who watches it. */
  cancel(): Promise<void> {
    return this.#stop("cancelling", () => generations.cancelGeneration({ name: this.name }));
  }

  /** Frees the device, for everybody who watches it, until somebody resumes it. */
  pause(): Promise<void> {
    return this.#stop("pausing", async () => {
      this.#token = (await generations.pauseGeneration({ name: this.name })).token;
    });
  }

  /** Continues a paused one, without computing anything twice. */
  async resume(): Promise<void> {
    this.problem.value = undefined;
    this.state.value = "starting";
    try {
      this.#token ??= (await generations.pauseGeneration({ name: this.name })).token;
    } catch (thrown) {
      this.problem.value = problemOf(thrown);
      this.state.value = "paused";
      return;
    }
    this.#present(this.#token, "pause");
    await this.#follow();
  }

  /** Gives up a paused one: this page and the server forget it. */
  discard(): Promise<void> {
    return this.#stop("cancelling", async () => {
      try {
        await generations.cancelGeneration({ name: this.name });
      } catch (thrown) {
        if (problemOf(thrown).code !== Code.NotFound) throw thrown;
      }
      this.#token = undefined;
      this.problem.value = undefined;
      this.state.value = "cancelled";
    });
  }

  /** Stops following. The generation itself continues. */
  leave(): void {
    this.#leaving.abort();
  }

  async #stop(asked: "cancelling" | "pausing", ask: () => Promise<unknown>): Promise<void> {
    const before = this.state.peek();
    this.state.value = asked;
    try {
      await ask();
    } catch (thrown) {
      if (this.ended) return;
      this.state.value = before;
      const problem = problemOf(thrown);
      const isRefused = problem.reason === "PAUSE_UNAVAILABLE";
      // If it has ended meanwhile, its stream says so; if it is moving, it continues elsewhere.
      if (problem.code === Code.FailedPrecondition && !isRefused) return;
      this.problem.value = problem;
    }
  }

  #present(token: Uint8Array, why: "drain" | "pause"): void {
    this.#request = create(GenerateRequestSchema, { handover: token });
    this.#presents = why;
    this.moving.value = true;
  }

  async #follow(): Promise<void> {
    for (let attempt = 0; !isAborted(this.#leaving.signal); attempt++) {
      try {
        for await (const event of this.#events()) {
          attempt = 0;
          this.#take(event);
        }
        this.waiting.value = undefined;
        return;
      } catch (thrown) {
        if (isAborted(this.#leaving.signal) || this.finished.peek()) return;
        const problem = problemOf(thrown);
        if (!(await this.#canTryAgain(problem))) return;
        await sleep(problem.retryAfterMs ?? backoffMs(attempt), this.#leaving.signal);
      }
    }
  }

  #events(): AsyncIterable<GenerateEvent> {
    const { signal } = this.#leaving;
    if (this.#request) return imageGeneration.generate(this.#request, { signal });
    return generations.watchGeneration(
      { name: this.name, resumeAfter: this.#lastSequence },
      { signal },
    );
  }

  async #canTryAgain(problem: Problem): Promise<boolean> {
    if (problem.connectionLost || problem.retryAfterMs !== undefined) {
      this.waiting.value = problem;
      return true;
    }
    this.waiting.value = undefined;
    const isLost = problem.code === Code.NotFound && this.#lastSequence !== undefined;
    if ((isLost || this.#presents === "drain") && (await this.#startAgain())) return true;
    if (problem.code === Code.Canceled && !(await this.#isCancelled())) return true;
    this.#end(problem);
    return false;
  }

  // Its state is lost with the server, but the same request makes the same images.
  async #startAgain(): Promise<boolean> {
    this.#request = await this.#findRequest();
    this.#presents = undefined;
    this.moving.value = false;
    if (this.#request === undefined) return false;
    this.#lastSequence = undefined;
    this.startedAgain.value = true;
    this.progress.value = undefined;
    this.album.clear();
    this.state.value = "starting";
    return true;
  }

  // A stream is also cancelled when its reader was too slow, a laptop that slept for example.
  async #isCancelled(): Promise<boolean> {
    try {
      const { state } = await generations.getGeneration({ name: this.name }, lookUp);
      return state === Generation_State.CANCELLED || state === Generation_State.CANCELLING;
    } catch (thrown) {
      return !problemOf(thrown).connectionLost;
    }
  }

  #end(problem: Problem): void {
    this.moving.value = false;
    if (problem.code === Code.Canceled) {
      this.state.value = "cancelled";
      return;
    }
    if (problem.reason === "GENERATION_PAUSED") {
      this.state.value = "paused";
      return;
    }
    this.problem.value = problem;
    if (this.#presents === "pause") {
      this.#presents = undefined;
      this.state.value = "paused";
      return;
    }
    this.state.value = problem.code === Code.NotFound && !this.#request ? "gone" : "failed";
  }

  #take({ sequence, event }: GenerateEvent): void {
    this.#lastSequence = sequence;
    this.#request = undefined;
    this.#presents = undefined;
    const moved = this.moving.peek();
    this.moving.value = false;
    this.waiting.value = undefined;
    switch (event.case) {
      case "accepted":
        this.accepted.value = event.value;
        if (moved)
          this.state.value = "queued"; // asking the server before to stop it was in vain
        else this.#advance("queued");
        break;
      case "queued":
        this.queuePosition.value = event.value.position;
        this.expectedWait.value = event.value.expectedWait;
        break;
      case "started":
        this.#advance("running");
        break;
      case "progress":
        this.progress.value = event.value;
        break;
      case "frame":
        this.album.addFrame(event.value);
        break;
      case "image":
        this.album.addResult(event.value);
        break;
      case "handover":
        if (event.value.paused) this.#token = event.value.token;
        else this.#present(event.value.token, "drain");
        break;
      case "finished":
        this.problem.value = undefined; // of a pause that was refused
        this.finished.value = event.value;
        this.state.value = "succeeded";
        break;
      default:
        break; // a kind of event that this page does not know yet
    }
  }

  #advance(state: RunState): void {
    if (!this.stopping) this.state.value = state;
  }
}
