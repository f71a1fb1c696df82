// One upload of this page: hashes what is sent, sends it, and continues after a broken connection
// or a restart of the server.
import { Code } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import {
  type Dataset,
  Dataset_State,
  type UploadHeader,
} from "../../gen/denoised/v1/datasets_pb.ts";
import { datasets, lookUp } from "../../rpc/clients.ts";
import { type Problem, problemOf } from "../../rpc/problem.ts";
import { backoffMs, isAborted, sleep } from "../../rpc/retry.ts";
import { uploadBody } from "./body.ts";
import { sha256Of } from "./hash.ts";
import type { Parcel } from "./parcel.ts";
import { send } from "./send.ts";

export type UploadState =
  | "hashing"
  | "sending"
  | "reading" // the server has everything and looks at the pictures
  | "cancelling"
  | "cancelled"
  | "failed"
  | "done";

// What the server says to a header alone whose bytes are still missing.
const bytesAreMissing = "header.total_bytes";

export class Upload {
  readonly state = signal<UploadState>("hashing");
  /** Bytes hashed or sent so far. */
  readonly doneBytes = signal(0);
  readonly dataset = signal<Dataset | undefined>(undefined);
  /** Why it failed. */
  readonly problem = signal<Problem | undefined>(undefined);
  /** What the page waits for before it tries again. Undefined: it is connected. */
  readonly waiting = signal<Problem | undefined>(undefined);
  // The server has accepted the header, so that what it has under this name is of this upload.
  #accepted = false;
  readonly #leaving = new AbortController();

  readonly #header: UploadHeader;

  constructor(
    readonly parcel: Parcel,
    /** With its name and its format. */
    header: UploadHeader,
  ) {
    this.#header = header;
    void this.#run();
  }

  /** "datasets/{dataset}". */
  get name(): string {
    return this.#header.name;
  }

  get ended(): boolean {
    return ["cancelled", "failed", "done"].includes(this.state.value);
  }

  /** Stops sending, and deletes what the server has of it. */
  async cancel(): Promise<void> {
    this.state.value = "cancelling";
    this.#leaving.abort();
    if (this.#accepted) await this.#deleteRest();
    this.state.value = "cancelled";
  }

  async #run(): Promise<void> {
    try {
      this.dataset.value = await this.#sendUntilDone();
      this.state.value = "done";
    } catch (thrown) {
      if (isAborted(this.#leaving.signal)) return;
      this.problem.value = problemOf(thrown);
      this.state.value = "failed";
    }
  }

  async #sendUntilDone(): Promise<Dataset> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#hash();
        const known = attempt === 0 ? undefined : await this.#known();
        if (known?.state === Dataset_State.READY) return known;
        return await this.#sendRest();
      } catch (thrown) {
        const problem = problemOf(thrown);
        // The server may not have noticed yet that the call of before has ended.
        const isRetried = problem.connectionLost || problem.code === Code.Aborted;
        if (isAborted(this.#signal) || !(isRetried || problem.retryAfterMs !== undefined))
          throw thrown;
        this.waiting.value = problem;
        await sleep(problem.retryAfterMs ?? backoffMs(attempt), this.#signal);
      }
    }
  }

  async #hash(): Promise<void> {
    const { bytes } = this.parcel;
    if (this.#header.sha256.length > 0) return;
    const onProgress = (readBytes: number) => (this.doneBytes.value = readBytes);
    this.#header.sha256 = await sha256Of(bytes, onProgress, this.#signal);
    this.#header.totalBytes = BigInt(bytes.size);
  }

  async #sendRest(): Promise<Dataset> {
    const header = this.#header;
    const known = await this.#known();
    header.offset = known?.state === Dataset_State.FAILED ? 0n : (known?.receivedBytes ?? 0n);
    if (header.offset < header.totalBytes) await this.#announce();
    this.waiting.value = undefined;
    const begin = Number(header.offset);
    const onProgress = (sentBytes: number) => {
      this.doneBytes.value = Math.min(this.parcel.bytes.size, begin + sentBytes);
      this.state.value = this.doneBytes.value < this.parcel.bytes.size ? "sending" : "reading";
    };
    onProgress(0);
    return send(uploadBody(header, this.parcel.bytes), onProgress, this.#signal);
  }

  // Sends the header alone first. A browser that is still sending does not read an answer, so that
  // a refusal would look like a broken connection.
  async #announce(): Promise<void> {
    try {
      await send(uploadBody(this.#header, new Blob()), () => undefined, this.#signal);
    } catch (thrown) {
      const { violations } = problemOf(thrown);
      const isAccepted = violations.length === 1 && violations[0]?.field === bytesAreMissing;
      if (!isAccepted) throw thrown;
      this.#accepted = true;
    }
  }

  async #known(): Promise<Dataset | undefined> {
    try {
      return await datasets.getDataset({ name: this.name }, { ...lookUp, signal: this.#signal });
    } catch (thrown) {
      const { code } = problemOf(thrown);
      // The announcement says what is wrong with a name.
      if (code === Code.NotFound || code === Code.InvalidArgument) return undefined;
      throw thrown;
    }
  }

  // The server refuses as long as it has not noticed that the call has ended.
  async #deleteRest(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        await datasets.deleteDataset({ name: this.name }, lookUp);
        return;
      } catch (thrown) {
        const isSending = problemOf(thrown).code === Code.FailedPrecondition;
        if (!isSending) return; // nothing was sent, or nobody answers
        await sleep(backoffMs(attempt));
      }
    }
  }

  get #signal(): AbortSignal {
    return this.#leaving.signal;
  }
}
